//! Burning budgets: pages, tickets, and asking for a rollback.

use expect_test::expect;

use crate::script::check;

#[test]
fn a_page_and_a_ticket_begin_and_end_once_each() {
    check(
        "
        service shop v1=100
        objective avail shop 99% page:10:60s:5s,ticket:2:5m:30s
        reload
        load 60s shop=500 shop/v1=0.1%
        load 20s shop=500 shop/v1=60%
        load 30s shop=500 shop/v1=0.1%
        idle 10m",
        &expect![[r#"
              61.970s notify ops firing ErrorBudgetBurn (ticket): shop: avail spends its error budget too fast
              69.920s incident INC-1 Judged, began 60.000s, harmed 2927 of 4965
              69.920s record INC-1 1 cells 0.000s..69.920s
              69.920s notify ops firing ErrorBudgetBurn (page): shop: avail is at risk
              84.180s incident INC-1 Recovered, began 60.000s, harmed 5882 of 12095
              84.180s notify ops resolved ErrorBudgetBurn (page): Objective avail: the budget no longer burns too fast.
              89.180s incident INC-1 Closed, began 60.000s, harmed 5882 of 12095
                        | 60.000s first_bad: the first bad response that counts towards it
                        | 69.920s verdict: the budget of avail burns 10.0 times too fast over 1m and 60.0 times over 5s (limit 10; 3002 of 30000 requests bad)
                        | 84.180s resolved: the budget no longer burns too fast
                        | 89.180s closed: the record is complete
              89.180s record INC-1 1 cells 0.000s..89.180s
             109.050s notify ops resolved ErrorBudgetBurn (ticket): Objective avail: the budget no longer burns too fast.
        "#]],
    );
}

#[test]
fn a_burning_budget_asks_for_the_rollback_of_a_canary_and_a_person_decides() {
    check(
        "
        service shop v1=100 v2=0
        objective avail shop 99% page:5:60s:5s rollback
        rollout r shop v1>v2 50:manual
        reload
        # A rule needs its short window measured.
        idle 5s
        start r
        # Both versions fail alike: the canary's judge has no case.
        load 5s shop=500 shop/v1=30% shop/v2=30%
        show splits
        approve A-2 try it
        load 60s shop=500 shop/v1=30%
        show splits
        show incidents",
        &expect![[r#"
             5.000s SHIFT A-1 advance shop v1=50% v2=50%
             5.000s action A-1 advance: admitted
             5.000s moved r in step 1
             5.001s action A-1 advance: applied
             5.200s action A-2 rollback: awaits approval until 3605.200s
             5.200s incident INC-1 Judged, began 5.020s, harmed 29 of 96
             5.200s record INC-1 2 cells -54.980s..5.200s
             5.200s notify ops firing ErrorBudgetBurn (page): shop: avail is at risk
             5.200s notify ops firing BudgetRollbackProposed (page): shop: canary v2 waits for approval to be rolled back: the budget of avail burns 30.0 times too fast over 1m and 30.0 times over 5s (limit 5; 30 of 100 requests bad)
            10.010s ~ shop v1=50% v2=50%
            10.010s SHIFT A-2 rollback shop v1=100% v2=0%
            10.010s action A-1 advance: undone: taken back by A-2
            10.010s action A-2 rollback: admitted
            10.010s incident INC-1 Judged, began 5.020s, harmed 29 of 96
            10.010s notify ops firing BudgetRollback (page): shop: canary v2 rolled back: the budget of avail burns 30.0 times too fast over 1m and 30.0 times over 5s (limit 5; 30 of 100 requests bad)
            10.010s moved r rolled back, frozen until 7210.010s
            10.011s action A-2 rollback: applied
            10.011s incident INC-1 Acted, began 5.020s, harmed 29 of 96
            40.020s SHIFT A-3 undo shop v1=50% v2=50%
            40.020s action A-2 rollback: undone: undone by A-3
            40.020s action A-3 undo: admitted
            40.020s incident INC-1 Acted, began 5.020s, harmed 29 of 96
            40.020s notify ops firing RollbackUndone (page): shop: rolling v2 back did not help shop: its weight is restored
            40.020s moved r paused in step 1: A-3 put the weights back; resume, promote or abort it
            40.021s action A-3 undo: applied
            70.020s ~ shop v1=50% v2=50%
            70.020s ~ INC-1 Acted shop: the budget of avail burns 30.0 times too fast over 1m and 30.0 times over 5s (limit 5; 30 of 100 requests bad)
        "#]],
    );
}

#[test]
fn in_mode_auto_the_objective_acts_by_itself() {
    check(
        "
        service shop v1=100 v2=0
        guard mode=auto
        objective avail shop 99% page:5:60s:5s rollback
        rollout r shop v1>v2 50:manual tolerance=90
        reload
        # A rule needs its short window measured.
        idle 5s
        start r
        load 3s shop=500 shop/v2=30%
        load 3m shop=500
        show phases",
        &expect![[r#"
              5.000s SHIFT A-1 advance shop v1=50% v2=50%
              5.000s action A-1 advance: admitted
              5.000s moved r in step 1
              5.001s action A-1 advance: applied
              5.200s SHIFT A-2 rollback shop v1=100% v2=0%
              5.200s action A-1 advance: undone: taken back by A-2
              5.200s action A-2 rollback: admitted
              5.200s incident INC-1 Judged, began 5.020s, harmed 14 of 96
              5.200s record INC-1 2 cells -54.980s..5.200s
              5.200s notify ops firing ErrorBudgetBurn (page): shop: avail is at risk
              5.200s notify ops firing BudgetRollback (page): shop: canary v2 rolled back: the budget of avail burns 15.0 times too fast over 1m and 15.0 times over 5s (limit 5; 15 of 100 requests bad)
              5.200s moved r rolled back, frozen until 7205.200s
              5.201s action A-2 rollback: applied
              5.201s incident INC-1 Acted, began 5.020s, harmed 14 of 96
              5.430s action A-2 rollback: verified
              5.430s incident INC-1 Recovered, began 5.020s, harmed 14 of 96
              5.610s incident INC-1 Recovered, began 5.020s, harmed 14 of 301
              5.610s notify ops resolved ErrorBudgetBurn (page): Objective avail: the budget no longer burns too fast.
              5.610s notify ops resolved BudgetRollback (page): Objective avail: the budget no longer burns too fast.
             10.610s incident INC-1 Closed, began 5.020s, harmed 14 of 301
                       |  5.020s first_bad: the first bad response that counts towards it
                       |  5.200s verdict: the budget of avail burns 15.0 times too fast over 1m and 15.0 times over 5s (limit 5; 15 of 100 requests bad)
                       |  5.200s proposed: A-2: burn rates 15.0 and 15.0 reach 5.0 on both windows; protective; mode auto
                       |  5.201s weight_zero: A-2 is in force: the canary gets no new requests
                       |  5.430s verified: 0.00 % bad of 100 requests within 190 ms after the switch, 5.0 % counts as recovered
                       |  5.610s resolved: the budget no longer burns too fast
                       | 10.610s closed: the record is complete
             10.610s record INC-1 2 cells -54.980s..10.610s
            188.010s ~ r 0% rolled back, frozen until 7205.201s
        "#]],
    );
}

#[test]
fn a_proposal_that_waits_does_not_hold_up_the_canarys_own_judge() {
    check(
        "
        service shop v1=100 v2=0
        objective avail shop 99% page:5:60s:5s rollback
        rollout r shop v1>v2 5:manual
        reload
        # A rule needs its short window measured.
        idle 5s
        start r
        # Both fail alike: only the budget speaks.
        load 2s shop=2000 shop/v1=30% shop/v2=30%
        show actions
        load-until-shift 5s shop=2000 shop/v1=30% shop/v2=90%
        show actions",
        &expect![[r#"
            5.000s SHIFT A-1 advance shop v1=95% v2=5%
            5.000s action A-1 advance: admitted
            5.000s moved r in step 1
            5.001s action A-1 advance: applied
            5.050s action A-2 rollback: awaits approval until 3605.050s
            5.050s incident INC-1 Judged, began 5.010s, harmed 28 of 100
            5.050s record INC-1 2 cells -54.990s..5.050s
            5.050s notify ops firing ErrorBudgetBurn (page): shop: avail is at risk
            5.050s notify ops firing BudgetRollbackProposed (page): shop: canary v2 waits for approval to be rolled back: the budget of avail burns 29.0 times too fast over 1m and 29.0 times over 5s (limit 5; 29 of 100 requests bad)
            7.010s ~ A-1 advance applied
            7.010s ~ A-2 rollback awaits approval until 3605.050s
            7.290s SHIFT A-3 rollback shop v1=100% v2=0%
            7.290s action A-1 advance: undone: taken back by A-3
            7.290s action A-2 rollback: refused: replaced by A-3
            7.290s action A-3 rollback: admitted
            7.290s incident INC-2 Judged, began 6.940s, harmed 17 of 720
            7.290s record INC-2 2 cells -53.060s..7.290s
            7.290s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 37.1 % of its requests failed (85 of 229), against 30.0 % of v1's (1305 of 4351)
            7.290s moved r rolled back, frozen until 7207.290s
            7.291s action A-3 rollback: applied
            7.291s incident INC-2 Acted, began 6.940s, harmed 17 of 720
            7.291s ~ A-1 advance undone: taken back by A-3
            7.291s ~ A-2 rollback refused: replaced by A-3
            7.291s ~ A-3 rollback applied
        "#]],
    );
}

#[test]
fn an_own_rollback_that_is_refused_leaves_the_proposal_that_waits() {
    check(
        "
        service shop v1=100 v2=0
        objective avail shop 99% page:5:60s:5s rollback
        rollout r shop v1>v2 5:manual mode=observe
        reload
        # A rule needs its short window measured.
        idle 5s
        start r
        load 2s shop=2000 shop/v1=30% shop/v2=30%
        load 5s shop=2000 shop/v1=30% shop/v2=90%
        approve A-2
        show splits",
        &expect![[r#"
             5.000s SHIFT A-1 advance shop v1=95% v2=5%
             5.000s action A-1 advance: admitted
             5.000s moved r in step 1
             5.001s action A-1 advance: applied
             5.050s action A-2 rollback: awaits approval until 3605.050s
             5.050s incident INC-1 Judged, began 5.010s, harmed 28 of 100
             5.050s record INC-1 2 cells -54.990s..5.050s
             5.050s notify ops firing ErrorBudgetBurn (page): shop: avail is at risk
             5.050s notify ops firing BudgetRollbackProposed (page): shop: canary v2 waits for approval to be rolled back: the budget of avail burns 29.0 times too fast over 1m and 29.0 times over 5s (limit 5; 29 of 100 requests bad)
             7.290s action A-3 rollback: refused: the mode is `observe`: what would have been done is recorded, nothing is done
             7.290s incident INC-2 Judged, began 6.940s, harmed 17 of 720
             7.290s record INC-2 2 cells -53.060s..7.290s
             7.290s notify ops firing CanaryWorse (page): shop: canary v2 is worse and still gets traffic: 37.1 % of its requests failed (85 of 229), against 30.0 % of v1's (1305 of 4351)
            12.010s SHIFT A-2 rollback shop v1=100% v2=0%
            12.010s action A-1 advance: undone: taken back by A-2
            12.010s action A-2 rollback: admitted
            12.010s incident INC-2 Judged, began 6.940s, harmed 17 of 720
            12.010s notify ops firing BudgetRollback (page): shop: canary v2 rolled back: the budget of avail burns 29.0 times too fast over 1m and 29.0 times over 5s (limit 5; 29 of 100 requests bad)
            12.010s moved r rolled back, frozen until 7212.010s
            12.011s action A-2 rollback: applied
            12.011s incident INC-2 Acted, began 6.940s, harmed 17 of 720
            12.011s ~ shop v1=100% v2=0%
        "#]],
    );
}

#[test]
fn a_verdict_while_the_deadlines_abort_waits_is_proposed_and_told() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual mode=approve progress=5s
        reload
        start r
        load 6s shop=2000
        load 1s shop=2000 shop/v2=60%
        show actions
        approve A-3
        show splits",
        &expect![[r#"
            0.000s SHIFT A-1 advance shop v1=95% v2=5%
            0.000s action A-1 advance: admitted
            0.000s moved r in step 1
            0.001s action A-1 advance: applied
            5.010s action A-2 abort: awaits approval until 3605.010s
            5.010s notify ops firing ApprovalNeeded (info): shop: rollout r asks to abort: approve A-2
            6.110s action A-2 abort: refused: replaced by a newer proposal
            6.110s action A-3 rollback: awaits approval until 3606.110s
            6.110s incident INC-1 Judged, began 6.030s, harmed 6 of 180
            6.110s record INC-1 2 cells -53.970s..6.110s
            6.110s notify ops firing CanaryWorse (page): shop: canary v2 waits for approval to be rolled back: 0.98 % of its requests failed (6 of 611), against 0.00 % of v1's (0 of 11609)
            7.010s ~ A-1 advance applied
            7.010s ~ A-2 abort refused: replaced by a newer proposal
            7.010s ~ A-3 rollback awaits approval until 3606.110s
            7.010s SHIFT A-3 rollback shop v1=100% v2=0%
            7.010s action A-1 advance: undone: taken back by A-3
            7.010s action A-3 rollback: admitted
            7.010s incident INC-1 Judged, began 6.030s, harmed 6 of 180
            7.010s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 0.98 % of its requests failed (6 of 611), against 0.00 % of v1's (0 of 11609)
            7.010s moved r rolled back, frozen until 7207.010s
            7.011s action A-3 rollback: applied
            7.011s incident INC-1 Acted, began 6.030s, harmed 6 of 180
            7.011s ~ shop v1=100% v2=0%
        "#]],
    );
}

#[test]
fn few_events_never_fire_and_a_removed_objective_resolves() {
    check(
        "
        service shop v1=100
        objective avail shop 99% page:10:60s:5s min=1000
        reload
        load 10s shop=50 shop/v1=100%
        load 10s shop=500 shop/v1=100%
        remove avail
        reload
        idle 10s",
        &expect![[r#"
              11.000s incident INC-1 Judged, began 0.020s, harmed 990 of 1000
              11.000s record INC-1 1 cells -59.980s..11.000s
              11.000s notify ops firing ErrorBudgetBurn (page): shop: avail is at risk
              20.000s incident INC-1 Recovered, began 0.020s, harmed 5445 of 5500
              20.000s notify ops resolved ErrorBudgetBurn (page): Objective avail: its objective is no longer declared.
              25.000s incident INC-1 Closed, began 0.020s, harmed 5445 of 5500
                        |  0.020s first_bad: the first bad response that counts towards it
                        | 11.000s verdict: the budget of avail burns 100.0 times too fast over 1m and 100.0 times over 5s (limit 10; 1000 of 1000 requests bad)
                        | 20.000s resolved: its objective is no longer declared
                        | 25.000s closed: the record is complete
              25.000s record INC-1 1 cells -59.980s..25.000s
        "#]],
    );
}
