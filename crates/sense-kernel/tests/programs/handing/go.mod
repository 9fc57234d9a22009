module handing

go 1.19
