//! The process dies and comes back.

use expect_test::expect;

use crate::script::check;

#[test]
fn killed_during_a_rollback_the_canary_is_still_at_zero_and_the_incident_complete() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual
        reload
        start r
        load 1s shop=2000
        hold-shifts
        load 300ms shop=2000 shop/v2=60%
        restart 2m
        show splits
        load 10s shop=2000
        show phases",
        &expect![[r#"
              0.000s SHIFT A-1 advance shop v1=95% v2=5%
              0.000s action A-1 advance: admitted
              0.000s moved r in step 1
              0.001s action A-1 advance: applied
              1.100s SHIFT A-2 rollback shop v1=100% v2=0%
              1.100s action A-1 advance: undone: taken back by A-2
              1.100s action A-2 rollback: admitted
              1.100s incident INC-1 Judged, began 1.030s, harmed 5 of 160
              1.100s record INC-1 2 cells -58.970s..1.100s
              1.100s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 4.5 % of its requests failed (5 of 110), against 0.00 % of v1's (0 of 2090)
              1.100s moved r rolled back, frozen until 7201.100s
            121.310s action A-2 rollback: applied
            121.310s incident INC-1 Acted, began 1.030s, harmed 5 of 160
            121.310s ~ shop v1=100% v2=0%
            121.380s action A-2 rollback: verified
            121.380s incident INC-1 Recovered, began 1.030s, harmed 18 of 720
            121.380s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 1.5 % counts as recovered.
            126.380s incident INC-1 Closed, began 1.030s, harmed 18 of 10720
                       |  1.030s first_bad: the first bad response that counts towards it
                       |  1.100s verdict: 4.5 % of its requests failed (5 of 110), against 0.00 % of v1's (0 of 2090); ln e is 7.3, 6.9 was needed for alpha 0.001
                       |  1.100s proposed: A-2: ln e 7.26 reaches 6.91; protective; mode auto
                       | 121.310s weight_zero: A-2 is in force: the canary gets no new requests
                       | 121.380s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 1.5 % counts as recovered
                       | 121.380s resolved: everybody who was called was told
                       | 126.380s closed: the record is complete
            126.380s record INC-1 4 cells -58.970s..126.380s
            131.310s ~ r 0% rolled back, frozen until 7321.310s
        "#]],
    );
}

#[test]
fn an_active_rollout_goes_on_with_what_its_judge_knew() {
    check(
        "
        service shop v1=100 v2=0
        objective avail shop 99% page:14.4:1h:5m
        rollout r shop v1>v2 5:pause:30s,50:manual
        reload
        start r
        load 10s shop=2000
        restart 5s
        show phases
        show splits
        # What was not measured opens no gate: 5 s more than the declared 30 s.
        load 19s shop=2000
        show phases
        load 2s shop=2000
        load 300ms shop=2000 shop/v2=60%
        show splits",
        &expect![[r#"
             0.000s SHIFT A-1 advance shop v1=95% v2=5%
             0.000s action A-1 advance: admitted
             0.000s moved r in step 1
             0.001s action A-1 advance: applied
            15.010s ~ r 5% in step 1
            15.010s ~ shop v1=95% v2=5%
            34.010s ~ r 5% in step 1
            35.000s SHIFT A-2 advance shop v1=50% v2=50%
            35.000s action A-1 advance: applied
            35.000s action A-2 advance: admitted
            35.000s moved r in step 2
            35.001s action A-2 advance: applied
            36.050s SHIFT A-3 rollback shop v1=100% v2=0%
            36.050s action A-2 advance: undone: taken back by A-3
            36.050s action A-3 rollback: admitted
            36.050s incident INC-1 Judged, began 36.020s, harmed 24 of 80
            36.050s record INC-1 2 cells -23.980s..36.050s
            36.050s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 0.59 % of its requests failed (24 of 4050), against 0.00 % of v1's (0 of 58050)
            36.050s moved r rolled back, frozen until 7236.050s
            36.051s action A-3 rollback: applied
            36.051s incident INC-1 Acted, began 36.020s, harmed 24 of 80
            36.130s action A-3 rollback: verified
            36.130s incident INC-1 Recovered, began 36.020s, harmed 24 of 240
            36.130s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 1.0 % counts as recovered.
            36.310s ~ shop v1=100% v2=0%
        "#]],
    );
}

#[test]
fn answers_to_what_nobody_asked_change_nothing() {
    check(
        "
        applied A-1
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual,50:manual
        reload
        applied A-1
        failed A-9 what
        hold-shifts
        start r
        promote r
        applied A-1
        applied A-2
        failed A-2 too late
        applied A-2 ahead
        show actions",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.000s SHIFT A-2 advance shop v1=50% v2=50%
               0.000s action A-1 advance: admitted
               0.000s action A-2 advance: admitted
               0.000s moved r in step 2
               0.000s action A-1 advance: applied
               0.000s action A-2 advance: applied
               0.000s action A-2 advance: applied
               0.000s ~ A-1 advance applied
               0.000s ~ A-2 advance applied
        "#]],
    );
}
