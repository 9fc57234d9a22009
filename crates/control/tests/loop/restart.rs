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

#[test]
fn with_a_hole_in_the_past_no_canary_gets_traffic_until_a_person_starts_it() {
    check(
        "
        service shop v1=100 v2=0
        service cart c1=100 c2=0
        service mail m1=100 m2=0
        rollout r shop v1>v2 5:manual
        rollout c cart c1>c2 5:manual start=auto
        rollout m mail m1>m2 50:manual
        reload
        start m
        promote m
        abort c
        remove c
        reload
        start r
        load 1s shop=2000
        # What happened to rollout c meanwhile nobody knows: it must not start by itself.
        rollout c cart c1>c2 5:manual start=auto
        forget 1m 30
        show phases
        show splits
        load 1s shop=2000
        start r
        show actions
        show phases",
        &expect![[r#"
             0.000s SHIFT A-1 advance cart c1=95% c2=5%
             0.000s action A-1 advance: admitted
             0.000s moved c in step 1
             0.001s action A-1 advance: applied
             0.001s SHIFT A-2 advance mail m1=50% m2=50%
             0.001s action A-2 advance: admitted
             0.001s moved m in step 1
             0.002s action A-2 advance: applied
             0.002s SHIFT A-3 promote mail m1=0% m2=100%
             0.002s action A-2 advance: applied
             0.002s action A-3 promote: admitted
             0.002s moved m promoted
             0.003s action A-3 promote: applied
             0.003s SHIFT A-4 abort cart c1=100% c2=0%
             0.003s action A-1 advance: undone: taken back by A-4
             0.003s action A-4 abort: admitted
             0.003s moved c aborted: by ann
             0.004s action A-4 abort: applied
             0.004s SHIFT A-5 advance shop v1=95% v2=5%
             0.004s action A-5 advance: admitted
             0.004s moved r in step 1
             0.005s action A-5 advance: applied
            61.010s SHIFT A-106 abort shop v1=100% v2=0%
            61.010s action A-5 advance: undone: taken back by A-106
            61.010s action A-106 abort: admitted
            61.010s notify ops firing JournalRecordsLost (page): shop: it was taken back: part of the journal is lost, and with it what was decided meanwhile
            61.010s moved r aborted: part of the journal is lost, and with it what was decided meanwhile
            61.011s action A-106 abort: applied
            61.011s moved c aborted: part of the journal is lost, and with it what was decided meanwhile
            61.011s ~ c 0% aborted: part of the journal is lost, and with it what was decided meanwhile
            61.011s ~ m 100% promoted
            61.011s ~ r 0% aborted: part of the journal is lost, and with it what was decided meanwhile
            61.011s ~ cart c1=100% c2=0%
            61.011s ~ mail m1=0% m2=100%
            61.011s ~ shop v1=100% v2=0%
            62.020s SHIFT A-107 advance shop v1=95% v2=5%
            62.020s action A-106 abort: applied
            62.020s action A-107 advance: admitted
            62.020s moved r in step 1
            62.021s action A-107 advance: applied
            62.021s ~ A-1 advance undone: taken back by A-4
            62.021s ~ A-2 advance applied
            62.021s ~ A-3 promote applied
            62.021s ~ A-4 abort applied
            62.021s ~ A-5 advance undone: taken back by A-106
            62.021s ~ A-106 abort applied
            62.021s ~ A-107 advance applied
            62.021s ~ c 0% aborted: part of the journal is lost, and with it what was decided meanwhile
            62.021s ~ m 100% promoted
            62.021s ~ r 5% in step 1
        "#]],
    );
}
