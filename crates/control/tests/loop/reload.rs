//! Configurations come and go; decisions stay.

use expect_test::expect;

use crate::script::check;

const SHOP: &str = "
    service shop v1=100 v2=0
    guard cooldown=0s
    rollout r shop v1>v2 5:manual,50:manual
    reload
    start r
    load 100ms shop=2000
";

#[test]
fn an_unchanged_rollout_goes_on_over_a_reload() {
    check(
        &format!(
            "{SHOP}
        service cart c1=100
        reload
        show splits
        promote r
        reload
        show phases"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.110s ~ cart c1=100%
               0.110s ~ shop v1=95% v2=5%
               0.110s SHIFT A-2 advance shop v1=50% v2=50%
               0.110s action A-1 advance: applied
               0.110s action A-2 advance: admitted
               0.110s moved r in step 2
               0.111s action A-2 advance: applied
               0.111s ~ r 50% in step 2
        "#]],
    );
}

#[test]
fn a_reload_between_a_rollback_and_its_report_changes_nothing() {
    check(
        &format!(
            "{SHOP}
        hold-shifts
        load 300ms shop=2000 shop/v2=60%
        service shop v1=90 v2=10
        reload
        show splits
        applied A-2
        load 6s shop=2000
        show splits
        show phases"
        ),
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
            0.410s ~ shop v1=100% v2=0%
            0.410s action A-2 rollback: applied
            0.410s incident INC-1 Acted, began 0.130s, harmed 4 of 120
            0.480s action A-2 rollback: verified
            0.480s incident INC-1 Recovered, began 0.130s, harmed 18 of 720
            0.480s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 3.7 % counts as recovered.
            5.480s incident INC-1 Closed, began 0.130s, harmed 18 of 10720
                     |  0.130s first_bad: the first bad response that counts towards it
                     |  0.180s verdict: 22.2 % of its requests failed (4 of 18), against 0.00 % of v1's (0 of 342); ln e is 8.3, 6.9 was needed for alpha 0.001
                     |  0.180s proposed: A-2: ln e 8.28 reaches 6.91; protective; mode auto
                     |  0.410s weight_zero: A-2 is in force: the canary gets no new requests
                     |  0.480s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 3.7 % counts as recovered
                     |  0.480s resolved: everybody who was called was told
                     |  5.480s closed: the record is complete
            5.480s record INC-1 2 cells -59.870s..5.480s
            6.410s ~ shop v1=100% v2=0%
            6.410s ~ r 0% rolled back, frozen until 7200.410s
        "#]],
    );
}

#[test]
fn changed_steps_keep_the_step_if_its_weight_is_the_same() {
    check(
        &format!(
            "{SHOP}
        rollout r shop v1>v2 5:manual,20:manual,60:manual
        reload
        promote r
        rollout r shop v1>v2 5:manual,10:manual
        reload
        show splits
        show phases
        rollout r shop v1>v2 1:manual
        reload
        show phases
        promote r
        show splits"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.110s SHIFT A-2 advance shop v1=80% v2=20%
               0.110s action A-1 advance: applied
               0.110s action A-2 advance: admitted
               0.110s moved r in step 2
               0.111s action A-2 advance: applied
               0.111s moved r paused in step 2: its steps changed while the canary was at 20%; resume it at step 2, promote or abort it
               0.111s ~ shop v1=80% v2=20%
               0.111s ~ r 20% paused in step 2: its steps changed while the canary was at 20%; resume it at step 2, promote or abort it
               0.111s moved r paused in step 1: its steps changed while the canary was at 20%; resume it at step 1, promote or abort it
               0.111s ~ r 20% paused in step 1: its steps changed while the canary was at 20%; resume it at step 1, promote or abort it
               0.111s SHIFT A-3 promote shop v1=0% v2=100%
               0.111s action A-2 advance: applied
               0.111s action A-3 promote: admitted
               0.111s moved r promoted
               0.112s action A-3 promote: applied
               0.112s ~ shop v1=0% v2=100%
        "#]],
    );
}

#[test]
fn a_rollout_that_vanishes_takes_its_canary_back() {
    check(
        &format!(
            "{SHOP}
        remove r
        reload
        show splits
        # The declared split stays overruled until somebody writes another one.
        service cart c1=100
        reload
        show splits
        service shop v1=70 v2=30
        reload
        show splits"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.110s SHIFT A-2 abort shop v1=100% v2=0%
               0.110s action A-1 advance: undone: taken back by A-2
               0.110s action A-2 abort: admitted
               0.110s moved r aborted: by configuration: it is no longer declared
               0.111s action A-2 abort: applied
               0.111s ~ shop v1=100% v2=0%
               0.111s ~ cart c1=100%
               0.111s ~ shop v1=100% v2=0%
               0.111s ~ cart c1=100%
               0.111s ~ shop v1=70% v2=30%
        "#]],
    );
}

#[test]
fn a_frozen_release_stays_away_under_any_name_and_any_declared_split() {
    check(
        &format!(
            "{SHOP}
        load 300ms shop=2000 shop/v2=60%
        load 6s shop=2000
        service shop v1=50 v2=50
        reload
        show splits
        remove r
        reload
        show splits
        rollout again shop v1>v2 5:manual start=auto
        reload
        show splits
        start again
        restart 1m
        show splits
        idle 3h
        show splits
        show phases"
        ),
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
               0.181s action A-2 rollback: applied
               0.181s incident INC-1 Acted, began 0.130s, harmed 4 of 120
               0.260s action A-2 rollback: verified
               0.260s incident INC-1 Recovered, began 0.130s, harmed 4 of 280
               0.260s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 3.7 % counts as recovered.
               5.260s incident INC-1 Closed, began 0.130s, harmed 4 of 10280
                        |  0.130s first_bad: the first bad response that counts towards it
                        |  0.180s verdict: 22.2 % of its requests failed (4 of 18), against 0.00 % of v1's (0 of 342); ln e is 8.3, 6.9 was needed for alpha 0.001
                        |  0.180s proposed: A-2: ln e 8.28 reaches 6.91; protective; mode auto
                        |  0.181s weight_zero: A-2 is in force: the canary gets no new requests
                        |  0.260s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 3.7 % counts as recovered
                        |  0.260s resolved: everybody who was called was told
                        |  5.260s closed: the record is complete
               5.260s record INC-1 2 cells -59.870s..5.260s
               6.410s ~ shop v1=100% v2=0%
               6.410s ~ shop v1=100% v2=0%
               6.410s ~ shop v1=100% v2=0%
               6.410s REFUSED release v2 of shop is frozen for another 2h after its rollback: fix it under a new version name, or start it although it is frozen (`start --frozen`)
              66.410s ~ shop v1=100% v2=0%
            10866.410s ~ shop v1=100% v2=0%
            10866.410s ~ again 0% idle
        "#]],
    );
}

#[test]
fn another_canary_is_another_rollout() {
    check(
        &format!(
            "{SHOP}
        service shop v1=100 v2=0 v3=0
        rollout r shop v1>v3 5:manual
        reload
        show splits
        start r
        show splits
        show phases"
        ),
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.110s SHIFT A-2 abort shop v1=100% v2=0% v3=0%
               0.110s action A-1 advance: undone: taken back by A-2
               0.110s action A-2 abort: admitted
               0.110s moved r aborted: by configuration: it is no longer declared
               0.111s action A-2 abort: applied
               0.111s ~ shop v1=100% v2=0% v3=0%
               0.111s SHIFT A-3 advance shop v1=95% v2=0% v3=5%
               0.111s action A-3 advance: admitted
               0.111s moved r in step 1
               0.112s action A-3 advance: applied
               0.112s ~ shop v1=95% v2=0% v3=5%
               0.112s ~ r 5% in step 1
        "#]],
    );
}

#[test]
fn what_waits_for_approval_is_proposed_anew_when_the_split_changes() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 5:pause:1s,50:manual mode=approve
        reload
        start r
        load 1100ms shop=2000
        service shop beta=10 v1=90 v2=0
        reload
        load 100ms shop=2000
        approve A-2
        approve A-3
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               1.000s action A-2 advance: awaits approval until 3601.000s
               1.000s notify ops firing ApprovalNeeded (info): shop: rollout r asks to advance: approve A-2
               1.110s action A-2 advance: refused: the configuration changed; it is proposed anew if it is still wanted
               1.110s action A-3 advance: awaits approval until 3601.110s
               1.110s notify ops firing ApprovalNeeded (info): shop: rollout r asks to advance: approve A-3
               1.210s REFUSED A-2 is refused: there is nothing left to decide
               1.210s SHIFT A-3 advance shop beta=10% v1=40% v2=50%
               1.210s action A-1 advance: applied
               1.210s action A-3 advance: admitted
               1.210s moved r in step 2
               1.211s action A-3 advance: applied
               1.211s ~ shop beta=10% v1=40% v2=50%
        "#]],
    );
}

#[test]
fn the_recording_of_an_incident_keeps_the_cells_it_began_with() {
    check(
        "
        service shop v1=100 v2=0
        objective avail shop 99% page:10:60s:5s
        rollout r shop v1>v2 50:manual tolerance=90
        reload
        # A rule needs its short window measured.
        idle 5s
        start r
        load 2s shop=500 shop/v2=60%
        # The bad version goes and another one comes, while the incident is open.
        remove r
        service shop v1=100 v3=0
        reload
        restart 1s
        load 20s shop=500",
        &expect![[r#"
             5.000s SHIFT A-1 advance shop v1=50% v2=50%
             5.000s action A-1 advance: admitted
             5.000s moved r in step 1
             5.001s action A-1 advance: applied
             5.200s incident INC-1 Judged, began 5.010s, harmed 29 of 100
             5.200s record INC-1 2 cells -54.990s..5.200s
             5.200s notify ops firing ErrorBudgetBurn (page): shop: avail is at risk
             7.010s SHIFT A-2 abort shop v1=100% v2=0% v3=0%
             7.010s action A-1 advance: undone: taken back by A-2
             7.010s action A-2 abort: admitted
             7.010s moved r aborted: by configuration: it is no longer declared
             7.011s action A-2 abort: applied
            10.680s incident INC-1 Recovered, began 5.010s, harmed 278 of 2339
            10.680s notify ops resolved ErrorBudgetBurn (page): Objective avail: the budget no longer burns too fast.
            15.680s incident INC-1 Closed, began 5.010s, harmed 278 of 2339
                      |  5.010s first_bad: the first bad response that counts towards it
                      |  5.200s verdict: the budget of avail burns 30.0 times too fast over 1m and 30.0 times over 5s (limit 10; 30 of 100 requests bad)
                      | 10.680s resolved: the budget no longer burns too fast
                      | 15.680s closed: the record is complete
            15.680s record INC-1 4 cells -54.990s..15.680s
        "#]],
    );
}
