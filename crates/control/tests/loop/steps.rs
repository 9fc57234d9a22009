//! A good canary on its way: gates, deadlines, the guard's patience.

use expect_test::expect;

use crate::script::check;

#[test]
fn evidence_and_time_open_gates_until_the_canary_is_promoted() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 1:evidence:2s,10:pause:3s,50:evidence tolerance=2
        reload
        start r
        load 20s shop=4000 shop/v1=0.1% shop/v2=0.1%
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=99% v2=1%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               3.800s SHIFT A-2 advance shop v1=90% v2=10%
               3.800s action A-1 advance: applied
               3.800s action A-2 advance: admitted
               3.800s moved r in step 2
               3.801s action A-2 advance: applied
               6.800s SHIFT A-3 advance shop v1=50% v2=50%
               6.800s action A-2 advance: applied
               6.800s action A-3 advance: admitted
               6.800s moved r in step 3
               6.801s action A-3 advance: applied
               6.810s SHIFT A-4 promote shop v1=0% v2=100%
               6.810s action A-3 advance: applied
               6.810s action A-4 promote: admitted
               6.810s notify ops firing RolloutPromoted (info): shop: v2 serves all requests now
               6.810s moved r promoted
               6.811s action A-4 promote: applied
              20.010s ~ shop v1=0% v2=100%
        "#]],
    );
}

#[test]
fn other_versions_keep_their_share_until_promotion() {
    check(
        "
        service shop beta=10 v1=90 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 50:manual,100:manual
        reload
        start r
        show splits
        promote r
        show splits
        promote r
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop beta=10% v1=40% v2=50%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.001s ~ shop beta=10% v1=40% v2=50%
               0.001s SHIFT A-2 advance shop beta=10% v1=0% v2=90%
               0.001s action A-1 advance: applied
               0.001s action A-2 advance: admitted
               0.001s moved r in step 2
               0.002s action A-2 advance: applied
               0.002s ~ shop beta=10% v1=0% v2=90%
               0.002s SHIFT A-3 promote shop beta=0% v1=0% v2=100%
               0.002s action A-2 advance: applied
               0.002s action A-3 promote: admitted
               0.002s moved r promoted
               0.003s action A-3 promote: applied
               0.003s ~ shop beta=0% v1=0% v2=100%
        "#]],
    );
}

#[test]
fn a_step_without_canary_traffic_opens_no_gate() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:pause:1s,50:pause:1s progress=1m
        reload
        start r
        idle 30s
        show phases
        idle 31s
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
              30.001s ~ r 5% in step 1
              60.001s SHIFT A-2 abort shop v1=100% v2=0%
              60.001s action A-1 advance: undone: taken back by A-2
              60.001s action A-2 abort: admitted
              60.001s notify ops firing RolloutAborted (ticket): shop: rollout r was taken back: it had not ended by its progress deadline of 1m
              60.001s moved r aborted: it had not ended by its progress deadline of 1m
              60.002s action A-2 abort: applied
              61.001s ~ shop v1=100% v2=0%
        "#]],
    );
}

#[test]
fn an_advance_waits_for_the_cooldown_and_the_rate() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=5s rate=3
        rollout r shop v1>v2 1:pause:1s,2:pause:1s,3:pause:1s,4:pause:1s progress=3h
        reload
        start r
        load 30s shop=200
        idle 1h
        load 20ms shop=2000",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=99% v2=1%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               1.000s action A-2 advance: refused: the service cools down for another 4s after the last action
               5.000s SHIFT A-3 advance shop v1=98% v2=2%
               5.000s action A-1 advance: applied
               5.000s action A-3 advance: admitted
               5.000s moved r in step 2
               5.001s action A-3 advance: applied
               6.000s action A-4 advance: refused: the service cools down for another 4s after the last action
              10.000s SHIFT A-5 advance shop v1=97% v2=3%
              10.000s action A-3 advance: applied
              10.000s action A-5 advance: admitted
              10.000s moved r in step 3
              10.001s action A-5 advance: applied
              11.000s action A-6 advance: refused: 3 actions in the last hour, the limit is 3
            3600.000s SHIFT A-7 advance shop v1=96% v2=4%
            3600.000s action A-5 advance: applied
            3600.000s action A-7 advance: admitted
            3600.000s moved r in step 4
            3600.001s action A-7 advance: applied
            3630.030s SHIFT A-8 promote shop v1=0% v2=100%
            3630.030s action A-7 advance: applied
            3630.030s action A-8 promote: admitted
            3630.030s notify ops firing RolloutPromoted (info): shop: v2 serves all requests now
            3630.030s moved r promoted
            3630.031s action A-8 promote: applied
        "#]],
    );
}

#[test]
fn an_automatic_start_waits_for_nobody_but_not_after_a_rollback() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual start=auto freeze=1m
        reload
        load 1s shop=2000
        load 7s shop=2000 shop/v2=40%
        reload
        idle 2m
        show splits
        show phases
        start r
        show splits",
        &expect![[r#"
              0.000s SHIFT A-1 advance shop v1=95% v2=5%
              0.000s action A-1 advance: admitted
              0.000s moved r in step 1
              0.001s action A-1 advance: applied
              1.160s SHIFT A-2 rollback shop v1=100% v2=0%
              1.160s action A-1 advance: undone: taken back by A-2
              1.160s action A-2 rollback: admitted
              1.160s incident INC-1 Judged, began 1.040s, harmed 6 of 260
              1.160s record INC-1 2 cells -58.960s..1.160s
              1.160s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 5.2 % of its requests failed (6 of 116), against 0.00 % of v1's (0 of 2204)
              1.160s moved r rolled back, frozen until 61.160s
              1.161s action A-2 rollback: applied
              1.161s incident INC-1 Acted, began 1.040s, harmed 6 of 260
              1.240s action A-2 rollback: verified
              1.240s incident INC-1 Recovered, began 1.040s, harmed 6 of 420
              1.240s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 1.4 % counts as recovered.
              6.240s incident INC-1 Closed, began 1.040s, harmed 6 of 10420
                       |  1.040s first_bad: the first bad response that counts towards it
                       |  1.160s verdict: 5.2 % of its requests failed (6 of 116), against 0.00 % of v1's (0 of 2204); ln e is 9.3, 6.9 was needed for alpha 0.001
                       |  1.160s proposed: A-2: ln e 9.34 reaches 6.91; protective; mode auto
                       |  1.161s weight_zero: A-2 is in force: the canary gets no new requests
                       |  1.240s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 1.4 % counts as recovered
                       |  1.240s resolved: everybody who was called was told
                       |  6.240s closed: the record is complete
              6.240s record INC-1 2 cells -58.960s..6.240s
             61.161s action A-2 rollback: expired
            128.010s ~ shop v1=100% v2=0%
            128.010s ~ r 0% rolled back, frozen until 61.161s
            128.010s SHIFT A-3 advance shop v1=95% v2=5%
            128.010s action A-3 advance: admitted
            128.010s moved r in step 1
            128.011s action A-3 advance: applied
            128.011s ~ shop v1=95% v2=5%
        "#]],
    );
}

#[test]
fn the_progress_deadline_ends_exposure_unless_it_is_extended() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual progress=1m
        reload
        start r
        load 20ms shop=2000
        idle 30s
        extend A-1 2m
        idle 1m
        show phases
        idle 2m
        show actions
        extend A-2 1m",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
              30.030s action A-1 advance: applied
              90.030s ~ r 5% in step 1
             150.030s SHIFT A-2 abort shop v1=100% v2=0%
             150.030s action A-1 advance: undone: taken back by A-2
             150.030s action A-2 abort: admitted
             150.030s notify ops firing RolloutAborted (ticket): shop: rollout r was taken back: it had not ended by its progress deadline of 1m
             150.030s moved r aborted: it had not ended by its progress deadline of 1m
             150.031s action A-2 abort: applied
             210.030s ~ A-1 advance undone: taken back by A-2
             210.030s ~ A-2 abort applied
             210.030s REFUSED A-2 has no end that could be put off
        "#]],
    );
}

#[test]
fn in_mode_approve_every_step_asks() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 5:pause:1s,50:pause:1s mode=approve start=auto
        reload
        approve A-1
        load 2s shop=2000
        approve A-2 fine
        pause r lunch
        resume r
        load 2s shop=2000
        reject A-3 not yet
        load 2s shop=2000
        show phases",
        &expect![[r#"
               0.000s action A-1 advance: awaits approval until 3600.000s
               0.000s notify ops firing ApprovalNeeded (info): shop: rollout r asks to advance: approve A-1
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               1.000s action A-2 advance: awaits approval until 3601.000s
               1.000s notify ops firing ApprovalNeeded (info): shop: rollout r asks to advance: approve A-2
               2.010s SHIFT A-2 advance shop v1=50% v2=50%
               2.010s action A-1 advance: applied
               2.010s action A-2 advance: admitted
               2.010s moved r in step 2
               2.011s action A-2 advance: applied
               2.011s moved r paused in step 2: paused by ann: lunch
               2.011s moved r in step 2
               3.020s action A-3 promote: awaits approval until 3603.020s
               3.020s notify ops firing ApprovalNeeded (info): shop: rollout r asks to promote: approve A-3
               4.020s action A-3 promote: refused: rejected by ann: not yet
               6.020s ~ r 50% in step 2
        "#]],
    );
}

#[test]
fn a_blast_radius_that_is_too_small_is_said_once() {
    check(
        "
        service shop v1=100 v2=0 routes=3
        guard cooldown=0s traffic=10 routes=3
        rollout r shop v1>v2 5:pause:1s,50:pause:1s
        reload
        start r
        load 5s shop=2000
        guard traffic=100
        reload
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               1.000s action A-2 advance: refused: it moves 45% of the traffic, the limit is 10%
               5.010s SHIFT A-3 advance shop v1=50% v2=50%
               5.010s action A-1 advance: applied
               5.010s action A-3 advance: admitted
               5.010s moved r in step 2
               5.011s action A-3 advance: applied
               5.011s ~ shop v1=50% v2=50%
        "#]],
    );
}

#[test]
fn an_advance_that_the_gateway_cannot_carry_out_pauses_the_rollout() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 5:pause:1s,50:pause:1s
        reload
        start r
        hold-shifts
        load 2s shop=2000
        failed A-2 table too large
        show splits
        show phases
        promote r
        failed A-3 still too large
        abort r
        applied A-4
        start r
        failed A-5 no
        show splits
        show phases",
        &expect![[r#"
            0.000s SHIFT A-1 advance shop v1=95% v2=5%
            0.000s action A-1 advance: admitted
            0.000s moved r in step 1
            0.001s action A-1 advance: applied
            1.000s SHIFT A-2 advance shop v1=50% v2=50%
            1.000s action A-1 advance: applied
            1.000s action A-2 advance: admitted
            1.000s moved r in step 2
            2.010s action A-2 advance: failed: table too large
            2.010s moved r paused in step 1: A-2 failed: table too large
            2.010s ~ shop v1=95% v2=5%
            2.010s ~ r 5% paused in step 1: A-2 failed: table too large
            2.010s SHIFT A-3 advance shop v1=50% v2=50%
            2.010s action A-3 advance: admitted
            2.010s moved r in step 2
            2.010s action A-3 advance: failed: still too large
            2.010s moved r paused in step 1: A-3 failed: still too large
            2.010s SHIFT A-4 abort shop v1=100% v2=0%
            2.010s action A-4 abort: admitted
            2.010s moved r aborted: by ann
            2.010s action A-4 abort: applied
            2.010s SHIFT A-5 advance shop v1=95% v2=5%
            2.010s action A-4 abort: applied
            2.010s action A-5 advance: admitted
            2.010s moved r in step 1
            2.010s action A-5 advance: failed: no
            2.010s moved r aborted: A-5 failed: no
            2.010s ~ shop v1=100% v2=0%
            2.010s ~ r 0% aborted: A-5 failed: no
        "#]],
    );
}
