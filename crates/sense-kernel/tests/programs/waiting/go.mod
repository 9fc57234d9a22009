module waiting

go 1.19
