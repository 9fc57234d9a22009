//! A bad canary: noticed, taken back, verified; and the cases in which it is not the canary's fault.

use expect_test::expect;

use crate::script::{check, run};

const SHOP: &str = "
    service shop v1=100 v2=0
    guard cooldown=0s
    rollout r shop v1>v2 5:pause:60s,50:pause:60s
    reload
    start r
    load 10s shop=2000 shop/v1=0.1% shop/v2=0.1%
";

#[test]
fn a_bad_canary_is_taken_back_and_verified() {
    check(
        &format!(
            "{SHOP}
        load 7s shop=2000 shop/v1=0.1% shop/v2=30%
        show phases"
        ),
        &expect![[r#"
             0.000s SHIFT A-1 advance shop v1=95% v2=5%
             0.000s action A-1 advance: admitted
             0.000s moved r in step 1
             0.001s action A-1 advance: applied
            10.250s SHIFT A-2 rollback shop v1=100% v2=0%
            10.250s action A-1 advance: undone: taken back by A-2
            10.250s action A-2 rollback: admitted
            10.250s incident INC-1 Judged, began 10.000s, harmed 8 of 520
            10.250s record INC-1 2 cells -50.000s..10.250s
            10.250s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 0.78 % of its requests failed (8 of 1025), against 0.10 % of v1's (19 of 19475)
            10.250s moved r rolled back, frozen until 7210.250s
            10.251s action A-2 rollback: applied
            10.251s incident INC-1 Acted, began 10.000s, harmed 8 of 520
            10.330s action A-2 rollback: verified
            10.330s incident INC-1 Recovered, began 10.000s, harmed 8 of 680
            10.330s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 1.2 % counts as recovered.
            15.330s incident INC-1 Closed, began 10.000s, harmed 8 of 10680
                      | 10.000s first_bad: the first bad response that counts towards it
                      | 10.250s verdict: 0.78 % of its requests failed (8 of 1025), against 0.10 % of v1's (19 of 19475); ln e is 7.9, 6.9 was needed for alpha 0.001
                      | 10.250s proposed: A-2: ln e 7.92 reaches 6.91; protective; mode auto
                      | 10.251s weight_zero: A-2 is in force: the canary gets no new requests
                      | 10.330s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 1.2 % counts as recovered
                      | 10.330s resolved: everybody who was called was told
                      | 15.330s closed: the record is complete
            15.330s record INC-1 2 cells -50.000s..15.330s
            17.010s ~ r 0% rolled back, frozen until 7210.251s
        "#]],
    );
}

/// A canary that hangs: what was sent to it before ends seconds later, one request after the other, and is harm. It does not say
/// how those are that are sent now.
#[test]
fn the_last_answers_of_a_canary_are_harm_and_no_sign_that_something_else_is_wrong() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 5:pause:60s verify=5s
        reload
        start r
        load 10s shop=400
        load-until-shift 2s shop=400 shop/v2=100%
        load 12s shop=400 late:shop/v2=20
        show actions",
        &expect![[r#"
             0.000s SHIFT A-1 advance shop v1=95% v2=5%
             0.000s action A-1 advance: admitted
             0.000s moved r in step 1
             0.001s action A-1 advance: applied
            10.300s SHIFT A-2 rollback shop v1=100% v2=0%
            10.300s action A-1 advance: undone: taken back by A-2
            10.300s action A-2 rollback: admitted
            10.300s incident INC-1 Judged, began 10.050s, harmed 6 of 105
            10.300s record INC-1 2 cells -49.950s..10.300s
            10.300s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 2.9 % of its requests failed (6 of 206), against 0.00 % of v1's (0 of 3914)
            10.300s moved r rolled back, frozen until 7210.300s
            10.301s action A-2 rollback: applied
            10.301s incident INC-1 Acted, began 10.050s, harmed 6 of 105
            10.580s action A-2 rollback: verified
            10.580s incident INC-1 Recovered, began 10.050s, harmed 11 of 222
            10.580s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 240 ms after the switch, 1.2 % counts as recovered.
            15.580s incident INC-1 Closed, began 10.050s, harmed 111 of 2322
                      | 10.050s first_bad: the first bad response that counts towards it
                      | 10.300s verdict: 2.9 % of its requests failed (6 of 206), against 0.00 % of v1's (0 of 3914); ln e is 9.6, 6.9 was needed for alpha 0.001
                      | 10.300s proposed: A-2: ln e 9.59 reaches 6.91; protective; mode auto
                      | 10.301s weight_zero: A-2 is in force: the canary gets no new requests
                      | 10.580s verified: 0.00 % bad of 100 requests within 240 ms after the switch, 1.2 % counts as recovered
                      | 10.580s resolved: everybody who was called was told
                      | 15.580s closed: the record is complete
            15.580s record INC-1 2 cells -49.950s..15.580s
            22.310s ~ A-1 advance undone: taken back by A-2
            22.310s ~ A-2 rollback verified
        "#]],
    );
}

#[test]
fn a_fault_that_hits_both_versions_is_no_canarys_fault() {
    check(
        &format!(
            "{SHOP}
        load 20s shop=2000 shop/v1=30% shop/v2=30%
        show phases"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
              30.010s ~ r 5% in step 1
        "#]],
    );
}

#[test]
fn a_worse_canary_over_a_bad_baseline_is_taken_back_and_verified_against_that_baseline() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:pause:60s
        reload
        start r
        load 10s shop=2000 shop/v1=20% shop/v2=20%
        load 7s shop=2000 shop/v1=20% shop/v2=70%
        show actions",
        &expect![[r#"
             0.000s SHIFT A-1 advance shop v1=95% v2=5%
             0.000s action A-1 advance: admitted
             0.000s moved r in step 1
             0.001s action A-1 advance: applied
            10.410s SHIFT A-2 rollback shop v1=100% v2=0%
            10.410s action A-1 advance: undone: taken back by A-2
            10.410s action A-2 rollback: admitted
            10.410s incident INC-1 Judged, began 10.000s, harmed 21 of 840
            10.410s record INC-1 2 cells -50.000s..10.410s
            10.410s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 21.9 % of its requests failed (228 of 1041), against 20.0 % of v1's (3955 of 19779)
            10.410s moved r rolled back, frozen until 7210.410s
            10.411s action A-2 rollback: applied
            10.411s incident INC-1 Acted, began 10.000s, harmed 21 of 840
            10.490s action A-2 rollback: verified
            10.490s incident INC-1 Recovered, began 10.000s, harmed 21 of 1000
            10.490s notify ops resolved CanaryRolledBack (page): Recovered: 20.0 % bad of 100 requests within 40 ms after the switch, 21.9 % counts as recovered.
            15.490s incident INC-1 Closed, began 10.000s, harmed 21 of 11000
                      | 10.000s first_bad: the first bad response that counts towards it
                      | 10.410s verdict: 21.9 % of its requests failed (228 of 1041), against 20.0 % of v1's (3955 of 19779); ln e is 7.1, 6.9 was needed for alpha 0.001
                      | 10.410s proposed: A-2: ln e 7.12 reaches 6.91; protective; mode auto
                      | 10.411s weight_zero: A-2 is in force: the canary gets no new requests
                      | 10.490s verified: 20.0 % bad of 100 requests within 40 ms after the switch, 21.9 % counts as recovered
                      | 10.490s resolved: everybody who was called was told
                      | 15.490s closed: the record is complete
            15.490s record INC-1 2 cells -50.000s..15.490s
            17.010s ~ A-1 advance undone: taken back by A-2
            17.010s ~ A-2 rollback verified
        "#]],
    );
}

#[test]
fn a_rollback_that_does_not_help_is_undone_and_people_are_called() {
    check(
        &format!(
            "{SHOP}
        load-until-shift 2s shop=2000 shop/v1=0.1% shop/v2=30%
        load 40s shop=2000 shop/v1=30% shop/v2=30%
        show phases
        show splits
        show incidents
        # Another verdict is not undone a second time.
        load-until-shift 9s shop=2000 shop/v1=30% shop/v2=80%
        load 40s shop=2000 shop/v1=80%
        show actions"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
              10.250s SHIFT A-2 rollback shop v1=100% v2=0%
              10.250s action A-1 advance: undone: taken back by A-2
              10.250s action A-2 rollback: admitted
              10.250s incident INC-1 Judged, began 10.000s, harmed 8 of 520
              10.250s record INC-1 2 cells -50.000s..10.250s
              10.250s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 0.78 % of its requests failed (8 of 1025), against 0.10 % of v1's (19 of 19475)
              10.250s moved r rolled back, frozen until 7210.250s
              10.251s action A-2 rollback: applied
              10.251s incident INC-1 Acted, began 10.000s, harmed 8 of 520
              40.260s SHIFT A-3 undo shop v1=95% v2=5%
              40.260s action A-2 rollback: undone: undone by A-3
              40.260s action A-3 undo: admitted
              40.260s incident INC-1 Acted, began 10.000s, harmed 8 of 60540
              40.260s notify ops firing RollbackUndone (page): shop: rolling v2 back did not help shop: its weight is restored
              40.260s moved r paused in step 1: A-3 put the weights back; resume, promote or abort it
              40.261s action A-3 undo: applied
              50.260s ~ r 5% paused in step 1: A-3 put the weights back; resume, promote or abort it
              50.260s ~ shop v1=95% v2=5%
              50.260s ~ INC-1 Acted shop: canary v2 is worse than v1: 0.78 % of its requests failed (8 of 1025), against 0.10 % of v1's (19 of 19475)
              50.660s SHIFT A-4 rollback shop v1=100% v2=0%
              50.660s action A-3 undo: undone: taken back by A-4
              50.660s action A-4 rollback: admitted
              50.660s incident INC-1 Closed, began 10.000s, harmed 8 of 60540
                        | 10.000s first_bad: the first bad response that counts towards it
                        | 10.250s verdict: 0.78 % of its requests failed (8 of 1025), against 0.10 % of v1's (19 of 19475); ln e is 7.9, 6.9 was needed for alpha 0.001
                        | 10.250s proposed: A-2: ln e 7.92 reaches 6.91; protective; mode auto
                        | 10.251s weight_zero: A-2 is in force: the canary gets no new requests
                        | 40.260s proposed: A-3: bad share 0.3000 after the action is above 0.0120; moves 5% on 1 routes; action 3 of 60 within the hour; mode auto
                        | 40.260s undone: rolling v2 back did not help shop: its weight is restored
                        | 40.260s escalated: rolling v2 back did not help shop: its weight is restored
                        | 50.660s closed: a newer verdict fell
              50.660s incident INC-2 Judged, began 50.260s, harmed 21 of 820
              50.660s record INC-1 2 cells -50.000s..50.660s
              50.660s record INC-2 2 cells -9.740s..50.660s
              50.660s notify ops resolved CanaryRolledBack (page): a newer verdict fell
              50.660s notify ops resolved RollbackUndone (page): a newer verdict fell
              50.660s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 31.9 % of its requests failed (332 of 1040), against 30.0 % of v1's (5928 of 19760)
              50.660s moved r rolled back, frozen until 7250.660s
              50.661s action A-4 rollback: applied
              50.661s incident INC-2 Acted, began 50.260s, harmed 21 of 820
              80.670s action A-4 rollback: unverified: 80.0 % bad of 59960 requests within 30009 ms after the switch, 32.0 % counts as recovered: a rollback was undone before, so this one stays
              80.670s incident INC-2 Acted, began 50.260s, harmed 21 of 60840
              80.670s notify ops firing RollbackDidNotSuffice (page): shop: 80.0 % bad of 59960 requests within 30009 ms after the switch, 32.0 % counts as recovered: a rollback was undone before, so this one stays
              90.670s ~ A-1 advance undone: taken back by A-2
              90.670s ~ A-2 rollback undone: undone by A-3
              90.670s ~ A-3 undo undone: taken back by A-4
              90.670s ~ A-4 rollback unverified: 80.0 % bad of 59960 requests within 30009 ms after the switch, 32.0 % counts as recovered: a rollback was undone before, so this one stays
        "#]],
    );
}

#[test]
fn a_canary_that_was_worse_than_a_sick_baseline_stays_away() {
    check(
        &format!(
            "{SHOP}
        load-until-shift 2s shop=2000 shop/v1=0.1% shop/v2=90%
        load 31s shop=2000 shop/v1=10%
        show actions"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
              10.080s SHIFT A-2 rollback shop v1=100% v2=0%
              10.080s action A-1 advance: undone: taken back by A-2
              10.080s action A-2 rollback: admitted
              10.080s incident INC-1 Judged, began 10.000s, harmed 7 of 180
              10.080s record INC-1 2 cells -50.000s..10.080s
              10.080s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 0.69 % of its requests failed (7 of 1008), against 0.10 % of v1's (19 of 19152)
              10.080s moved r rolled back, frozen until 7210.080s
              10.081s action A-2 rollback: applied
              10.081s incident INC-1 Acted, began 10.000s, harmed 7 of 180
              40.090s action A-2 rollback: unverified: 10.0 % bad of 59960 requests within 30009 ms after the switch, 1.2 % counts as recovered: something else is wrong as well
              40.090s incident INC-1 Acted, began 10.000s, harmed 7 of 60200
              40.090s notify ops firing RollbackDidNotSuffice (page): shop: 10.0 % bad of 59960 requests within 30009 ms after the switch, 1.2 % counts as recovered: something else is wrong as well
              41.090s ~ A-1 advance undone: taken back by A-2
              41.090s ~ A-2 rollback unverified: 10.0 % bad of 59960 requests within 30009 ms after the switch, 1.2 % counts as recovered: something else is wrong as well
        "#]],
    );
}

#[test]
fn too_little_traffic_after_the_rollback_is_not_recovery() {
    check(
        &format!(
            "{SHOP}
        load-until-shift 2s shop=2000 shop/v1=0.1% shop/v2=50%
        load 31s shop=2 shop/v1=0.1%
        idle 10s
        show actions"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
              10.130s SHIFT A-2 rollback shop v1=100% v2=0%
              10.130s action A-1 advance: undone: taken back by A-2
              10.130s action A-2 rollback: admitted
              10.130s incident INC-1 Judged, began 10.000s, harmed 7 of 280
              10.130s record INC-1 2 cells -50.000s..10.130s
              10.130s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 0.69 % of its requests failed (7 of 1013), against 0.10 % of v1's (19 of 19247)
              10.130s moved r rolled back, frozen until 7210.130s
              10.131s action A-2 rollback: applied
              10.131s incident INC-1 Acted, began 10.000s, harmed 7 of 280
              40.140s action A-2 rollback: unverified: not enough evidence: 60 requests within 30009ms, none of 100 in a row settle it
              40.140s incident INC-1 Acted, began 10.000s, harmed 7 of 340
              40.140s notify ops resolved CanaryRolledBack (page): the canary is at 0 %; whether that helped is unknown: not enough evidence: 60 requests within 30009ms, none of 100 in a row settle it
              45.140s incident INC-1 Closed, began 10.000s, harmed 7 of 342
                        | 10.000s first_bad: the first bad response that counts towards it
                        | 10.130s verdict: 0.69 % of its requests failed (7 of 1013), against 0.10 % of v1's (19 of 19247); ln e is 7.1, 6.9 was needed for alpha 0.001
                        | 10.130s proposed: A-2: ln e 7.12 reaches 6.91; protective; mode auto
                        | 10.131s weight_zero: A-2 is in force: the canary gets no new requests
                        | 40.140s unverified: not enough evidence: 60 requests within 30009ms, none of 100 in a row settle it
                        | 45.140s closed: the record is complete
              45.140s record INC-1 2 cells -50.000s..45.140s
              51.140s ~ A-1 advance undone: taken back by A-2
              51.140s ~ A-2 rollback unverified: not enough evidence: 60 requests within 30009ms, none of 100 in a row settle it
        "#]],
    );
}

#[test]
fn slow_answers_are_a_reason_too() {
    check(
        "
        service shop v1=100 v2=0 slow=200ms
        rollout r shop v1>v2 5:pause:60s sli=200ms
        reload
        start r
        load 2s shop=2000 shop/v1=0.1%/1% shop/v2=0.1%/1%
        load 7s shop=2000 shop/v1=0.1%/1% shop/v2=0.1%/40%",
        &expect![[r#"
            0.000s SHIFT A-1 advance shop v1=95% v2=5%
            0.000s action A-1 advance: admitted
            0.000s moved r in step 1
            0.001s action A-1 advance: applied
            2.190s SHIFT A-2 rollback shop v1=100% v2=0%
            2.190s action A-1 advance: undone: taken back by A-2
            2.190s action A-2 rollback: admitted
            2.190s incident INC-1 Judged, began 2.000s, harmed 8 of 400
            2.190s record INC-1 2 cells -58.000s..2.190s
            2.190s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 4.1 % of its requests took longer than 200ms (9 of 219), against 0.99 % of v1's (41 of 4157)
            2.190s moved r rolled back, frozen until 7202.190s
            2.191s action A-2 rollback: applied
            2.191s incident INC-1 Acted, began 2.000s, harmed 8 of 400
            2.270s action A-2 rollback: verified
            2.270s incident INC-1 Recovered, began 2.000s, harmed 8 of 560
            2.270s notify ops resolved CanaryRolledBack (page): Recovered: 1.0 % bad of 100 requests within 40 ms after the switch, 2.6 % counts as recovered.
            7.270s incident INC-1 Closed, began 2.000s, harmed 8 of 10560
                     |  2.000s first_bad: the first bad response that counts towards it
                     |  2.190s verdict: 4.1 % of its requests took longer than 200ms (9 of 219), against 0.99 % of v1's (41 of 4157); ln e is 6.9, 6.9 was needed for alpha 0.001
                     |  2.190s proposed: A-2: ln e 6.95 reaches 6.91; protective; mode auto
                     |  2.191s weight_zero: A-2 is in force: the canary gets no new requests
                     |  2.270s verified: 1.0 % bad of 100 requests within 40 ms after the switch, 2.6 % counts as recovered
                     |  2.270s resolved: everybody who was called was told
                     |  7.270s closed: the record is complete
            7.270s record INC-1 2 cells -58.000s..7.270s
        "#]],
    );
}

#[test]
fn two_rollouts_at_once_do_not_know_each_other() {
    check(
        "
        service cart c1=100 c2=0
        service shop v1=100 v2=0 routes=3
        rollout carts cart c1>c2 5:pause:3s,50:manual
        rollout shops shop v1>v2 10:manual
        guard cooldown=0s
        reload
        start carts
        start shops
        load 1s shop=2000 cart=500
        load 7s shop=2000 cart=500 shop/v2=30%
        show splits
        show phases",
        &expect![[r#"
            0.000s SHIFT A-1 advance cart c1=95% c2=5%
            0.000s action A-1 advance: admitted
            0.000s moved carts in step 1
            0.001s action A-1 advance: applied
            0.001s SHIFT A-2 advance shop v1=90% v2=10%
            0.001s action A-2 advance: admitted
            0.001s moved shops in step 1
            0.002s action A-2 advance: applied
            1.130s SHIFT A-3 rollback shop v1=100% v2=0%
            1.130s action A-2 advance: undone: taken back by A-3
            1.130s action A-3 rollback: admitted
            1.130s incident INC-1 Judged, began 1.030s, harmed 7 of 220
            1.130s record INC-1 6 cells -58.970s..1.130s
            1.130s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 3.1 % of its requests failed (7 of 226), against 0.00 % of v1's (0 of 2034)
            1.130s moved shops rolled back, frozen until 7201.130s
            1.131s action A-3 rollback: applied
            1.131s incident INC-1 Acted, began 1.030s, harmed 7 of 220
            1.210s action A-3 rollback: verified
            1.210s incident INC-1 Recovered, began 1.030s, harmed 7 of 380
            1.210s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 1.5 % counts as recovered.
            3.000s SHIFT A-4 advance cart c1=50% c2=50%
            3.000s action A-1 advance: applied
            3.000s action A-4 advance: admitted
            3.000s moved carts in step 2
            3.001s action A-4 advance: applied
            6.210s incident INC-1 Closed, began 1.030s, harmed 7 of 10380
                     |  1.030s first_bad: the first bad response that counts towards it
                     |  1.130s verdict: 3.1 % of its requests failed (7 of 226), against 0.00 % of v1's (0 of 2034); ln e is 7.8, 6.9 was needed for alpha 0.001
                     |  1.130s proposed: A-3: ln e 7.76 reaches 6.91; protective; mode auto
                     |  1.131s weight_zero: A-3 is in force: the canary gets no new requests
                     |  1.210s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 1.5 % counts as recovered
                     |  1.210s resolved: everybody who was called was told
                     |  6.210s closed: the record is complete
            6.210s record INC-1 6 cells -58.970s..6.210s
            8.010s ~ cart c1=50% c2=50%
            8.010s ~ shop v1=100% v2=0%
            8.010s ~ carts 50% in step 2
            8.010s ~ shops 0% rolled back, frozen until 7201.131s
        "#]],
    );
}

#[test]
fn in_mode_observe_everything_is_said_and_nothing_done() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:pause:1s,50:manual mode=observe
        reload
        start r
        load 500ms shop=2000 shop/v2=30%
        load 5s shop=2000 shop/v2=30%
        show splits
        # Told to act by a reload, it acts on the verdict it has.
        rollout r shop v1>v2 5:pause:1s,50:manual mode=auto
        reload
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.140s action A-2 rollback: refused: the mode is `observe`: what would have been done is recorded, nothing is done
               0.140s incident INC-1 Judged, began 0.040s, harmed 4 of 220
               0.140s record INC-1 2 cells -59.960s..0.140s
               0.140s notify ops firing CanaryWorse (page): shop: canary v2 is worse and still gets traffic: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
               5.510s ~ shop v1=95% v2=5%
               5.510s SHIFT A-3 rollback shop v1=100% v2=0%
               5.510s action A-1 advance: undone: taken back by A-3
               5.510s action A-3 rollback: admitted
               5.510s incident INC-1 Judged, began 0.040s, harmed 4 of 220
               5.510s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
               5.510s moved r rolled back, frozen until 7205.510s
               5.511s action A-3 rollback: applied
               5.511s incident INC-1 Acted, began 0.040s, harmed 4 of 220
               5.511s ~ shop v1=100% v2=0%
        "#]],
    );
}

#[test]
fn in_mode_approve_a_person_lets_it_happen() {
    check(
        "
        service shop v1=100 v2=0
        guard approval=10s
        rollout r shop v1>v2 5:manual mode=approve
        reload
        start r
        load 3s shop=2000 shop/v2=30%
        # Nobody answers: it is asked again.
        load 10s shop=2000 shop/v2=30%
        approve A-2
        approve A-3
        load 6s shop=2000 shop/v2=30%",
        &expect![[r#"
             0.000s SHIFT A-1 advance shop v1=95% v2=5%
             0.000s action A-1 advance: admitted
             0.000s moved r in step 1
             0.001s action A-1 advance: applied
             0.140s action A-2 rollback: awaits approval until 10.140s
             0.140s incident INC-1 Judged, began 0.040s, harmed 4 of 220
             0.140s record INC-1 2 cells -59.960s..0.140s
             0.140s notify ops firing CanaryWorse (page): shop: canary v2 waits for approval to be rolled back: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
            10.140s action A-2 rollback: refused: nobody approved it in time
            10.140s action A-3 rollback: awaits approval until 20.140s
            10.140s incident INC-1 Judged, began 0.040s, harmed 4 of 220
            10.140s notify ops firing CanaryWorse (page): shop: canary v2 waits for approval to be rolled back: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
            13.010s REFUSED A-2 is refused: there is nothing left to decide
            13.010s SHIFT A-3 rollback shop v1=100% v2=0%
            13.010s action A-1 advance: undone: taken back by A-3
            13.010s action A-3 rollback: admitted
            13.010s incident INC-1 Judged, began 0.040s, harmed 4 of 220
            13.010s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
            13.010s moved r rolled back, frozen until 7213.010s
            13.011s action A-3 rollback: applied
            13.011s incident INC-1 Acted, began 0.040s, harmed 4 of 220
            13.090s action A-3 rollback: verified
            13.090s incident INC-1 Recovered, began 0.040s, harmed 390 of 26120
            13.090s notify ops resolved CanaryWorse (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 4.5 % counts as recovered.
            13.090s notify ops resolved CanaryWorse (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 4.5 % counts as recovered.
            13.090s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 4.5 % counts as recovered.
            18.090s incident INC-1 Closed, began 0.040s, harmed 390 of 36120
                      |  0.040s first_bad: the first bad response that counts towards it
                      |  0.140s verdict: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266); ln e is 8.8, 6.9 was needed for alpha 0.001
                      |  0.140s proposed: A-2 waits for approval
                      | 10.140s refused: A-2: nobody approved it in time
                      | 10.140s proposed: A-3 waits for approval
                      | 13.010s approved: A-3 by ann
                      | 13.010s proposed: A-3: ln e 8.78 reaches 6.91; protective; approved by ann
                      | 13.011s weight_zero: A-3 is in force: the canary gets no new requests
                      | 13.090s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 4.5 % counts as recovered
                      | 13.090s resolved: everybody who was called was told
                      | 18.090s closed: the record is complete
            18.090s record INC-1 2 cells -59.960s..18.090s
        "#]],
    );
}

#[test]
fn a_rejected_rollback_is_not_asked_again_but_nothing_advances() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:pause:1s,50:manual mode=approve progress=20s
        reload
        start r
        load 500ms shop=2000 shop/v2=30%
        reject A-2 we know
        load 10s shop=2000 shop/v2=30%
        abort r enough
        idle 10s",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.140s action A-2 rollback: awaits approval until 3600.140s
               0.140s incident INC-1 Judged, began 0.040s, harmed 4 of 220
               0.140s record INC-1 2 cells -59.960s..0.140s
               0.140s notify ops firing CanaryWorse (page): shop: canary v2 waits for approval to be rolled back: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
               0.510s action A-2 rollback: refused: rejected by ann: we know
               0.510s incident INC-1 Judged, began 0.040s, harmed 4 of 220
              10.510s SHIFT A-3 abort shop v1=100% v2=0%
              10.510s action A-1 advance: undone: taken back by A-3
              10.510s action A-3 abort: admitted
              10.510s incident INC-1 Judged, began 0.040s, harmed 4 of 220
              10.510s moved r aborted: by ann: enough
              10.511s action A-3 abort: applied
              10.511s incident INC-1 Acted, began 0.040s, harmed 4 of 220
              10.511s notify ops resolved CanaryWorse (page): the canary was taken back by hand
              15.511s incident INC-1 Closed, began 0.040s, harmed 315 of 20960
                        |  0.040s first_bad: the first bad response that counts towards it
                        |  0.140s verdict: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266); ln e is 8.8, 6.9 was needed for alpha 0.001
                        |  0.140s proposed: A-2 waits for approval
                        |  0.510s refused: A-2: rejected by ann: we know
                        | 10.510s proposed: A-3: a person asked: enough; protective
                        | 10.511s weight_zero: A-3 is in force: the canary gets no new requests
                        | 15.511s closed: the record is complete
              15.511s record INC-1 2 cells -59.960s..15.511s
        "#]],
    );
}

#[test]
fn break_glass_stops_automation_until_it_is_released() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual
        reload
        start r
        break-glass on
        load 1s shop=2000 shop/v2=30%
        show splits
        break-glass off
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.140s action A-2 rollback: refused: break-glass: a person has switched all automatic actions off
               0.140s incident INC-1 Judged, began 0.040s, harmed 4 of 220
               0.140s record INC-1 2 cells -59.960s..0.140s
               0.140s notify ops firing CanaryWorse (page): shop: canary v2 is worse and still gets traffic: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
               1.010s ~ shop v1=95% v2=5%
               1.010s SHIFT A-3 rollback shop v1=100% v2=0%
               1.010s action A-1 advance: undone: taken back by A-3
               1.010s action A-3 rollback: admitted
               1.010s incident INC-1 Judged, began 0.040s, harmed 4 of 220
               1.010s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 28.6 % of its requests failed (4 of 14), against 0.00 % of v1's (0 of 266)
               1.010s moved r rolled back, frozen until 7201.010s
               1.011s action A-3 rollback: applied
               1.011s incident INC-1 Acted, began 0.040s, harmed 4 of 220
               1.011s ~ shop v1=100% v2=0%
        "#]],
    );
}

#[test]
fn a_rollback_that_the_gateway_cannot_carry_out_is_tried_until_it_can() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual
        reload
        start r
        load 100ms shop=2000
        hold-shifts
        load 200ms shop=2000 shop/v2=60%
        failed A-2 no such listener
        load 1s shop=2000 shop/v2=60%
        failed A-3 still not
        load 2s shop=2000 shop/v2=60%
        applied A-3
        applied A-4 ahead
        applied A-4
        load 6s shop=2000",
        &expect![[r#"
            0.000s SHIFT A-1 advance shop v1=95% v2=5%
            0.000s action A-1 advance: admitted
            0.000s moved r in step 1
            0.001s action A-1 advance: applied
            0.180s SHIFT A-2 rollback shop v1=100% v2=0%
            0.180s action A-1 advance: undone: taken back by A-2
            0.180s action A-2 rollback: admitted
            0.180s incident INC-1 Judged, began 0.130s, harmed 4 of 120
            0.180s record INC-1 2 cells -59.870s..0.180s
            0.180s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 22.2 % of its requests failed (4 of 18), against 0.00 % of v1's (0 of 342)
            0.180s moved r rolled back, frozen until 7200.180s
            0.310s action A-2 rollback: failed: no such listener
            0.310s incident INC-1 Judged, began 0.130s, harmed 4 of 120
            0.310s notify ops firing RollbackFailed (page): shop: A-2 could not be carried out: no such listener
            1.310s SHIFT A-3 rollback shop v1=100% v2=0%
            1.310s action A-3 rollback: admitted
            1.310s incident INC-1 Judged, began 0.130s, harmed 4 of 120
            1.310s action A-3 rollback: failed: still not
            1.310s incident INC-1 Judged, began 0.130s, harmed 4 of 120
            3.310s SHIFT A-4 rollback shop v1=100% v2=0%
            3.310s action A-4 rollback: admitted
            3.310s incident INC-1 Judged, began 0.130s, harmed 4 of 120
            3.310s action A-4 rollback: applied
            3.310s incident INC-1 Acted, began 0.130s, harmed 4 of 120
            3.380s action A-4 rollback: verified
            3.380s incident INC-1 Recovered, began 0.130s, harmed 192 of 6520
            3.380s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 3.7 % counts as recovered.
            3.380s notify ops resolved RollbackFailed (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 3.7 % counts as recovered.
            8.380s incident INC-1 Closed, began 0.130s, harmed 192 of 16520
                     |  0.130s first_bad: the first bad response that counts towards it
                     |  0.180s verdict: 22.2 % of its requests failed (4 of 18), against 0.00 % of v1's (0 of 342); ln e is 8.3, 6.9 was needed for alpha 0.001
                     |  0.180s proposed: A-2: ln e 8.28 reaches 6.91; protective; mode auto
                     |  0.310s refused: A-2 could not be carried out: no such listener
                     |  0.310s escalated: A-2 could not be carried out: no such listener
                     |  1.310s refused: A-3 could not be carried out: still not
                     |  3.310s late_record: A-4 took effect before its record was on disk
                     |  3.310s weight_zero: A-4 is in force: the canary gets no new requests
                     |  3.380s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 3.7 % counts as recovered
                     |  3.380s resolved: everybody who was called was told
                     |  8.380s closed: the record is complete
            8.380s record INC-1 2 cells -59.870s..8.380s
        "#]],
    );
}

#[test]
fn a_failed_rollback_is_tried_again_with_the_split_and_the_limits_of_now() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 5:manual
        reload
        start r
        load 1s shop=2000
        hold-shifts
        load 300ms shop=2000 shop/v2=60%
        failed A-2 the table is too large
        # Another version, less time for any action, and automatic actions off: what was admitted is still carried out.
        service shop beta=10 v1=90 v2=0
        guard cooldown=0s ttl=30m
        reload
        break-glass on
        idle 2s
        failed A-3 the table is too large
        idle 3s
        applied A-4
        show splits
        show actions",
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
            1.310s action A-2 rollback: failed: the table is too large
            1.310s incident INC-1 Judged, began 1.030s, harmed 5 of 160
            1.310s notify ops firing RollbackFailed (page): shop: A-2 could not be carried out: the table is too large
            2.310s SHIFT A-3 rollback shop beta=10% v1=90% v2=0%
            2.310s action A-3 rollback: admitted
            2.310s incident INC-1 Judged, began 1.030s, harmed 5 of 160
            3.310s action A-3 rollback: failed: the table is too large
            3.310s incident INC-1 Judged, began 1.030s, harmed 5 of 160
            5.310s SHIFT A-4 rollback shop beta=10% v1=90% v2=0%
            5.310s action A-4 rollback: admitted
            5.310s incident INC-1 Judged, began 1.030s, harmed 5 of 160
            6.310s action A-4 rollback: applied
            6.310s incident INC-1 Acted, began 1.030s, harmed 5 of 160
            6.310s ~ shop beta=10% v1=90% v2=0%
            6.310s ~ A-1 advance undone: taken back by A-2
            6.310s ~ A-2 rollback failed: the table is too large
            6.310s ~ A-3 rollback failed: the table is too large
            6.310s ~ A-4 rollback applied
        "#]],
    );
}

#[test]
fn however_often_people_are_called_every_call_is_new_and_ends() {
    let said = run(
        "
        service shop v1=100 v2=0
        guard approval=1m
        rollout r shop v1>v2 5:manual mode=approve progress=24h
        reload
        start r
        load 2s shop=2000
        load 500ms shop=2000 shop/v2=60%
        # Nobody answers; it is proposed again every minute.
        idle 50m
        abort r
        idle 1m",
        0,
    );
    let count = |word| said.lines().filter(|line| line.contains(word)).count();
    assert_eq!((count("notify ops firing CanaryWorse"), count("notify ops resolved CanaryWorse")), (51, 51));
}
