//! What people ask, and what they hear when it is impossible.

use expect_test::expect;

use crate::script::check;

#[test]
fn impossible_orders_are_answered_with_what_to_do() {
    check(
        "
        start nothing
        service shop v1=100 v2=0
        service dead v1=0 v2=0 v3=100
        rollout r shop v1>v2 5:manual
        rollout d dead v1>v2 5:manual
        reload
        start x
        pause r
        resume r
        promote r
        abort r
        start d
        approve A-99
        start r
        start r
        start-frozen r
        undo A-7
        approve A-1
        extend A-1 31d
        promote r
        start r
        abort r
        extend A-2 1h
        pause r",
        &expect![[r#"
               0.000s REFUSED there is no rollout nothing: none is declared
               0.000s REFUSED there is no rollout x; declared: d, r
               0.000s REFUSED rollout r is not started: nothing to pause
               0.000s REFUSED rollout r is not started: nothing to resume
               0.000s REFUSED rollout r is not started: only a running one can be promoted
               0.000s REFUSED rollout r is not started: there is nothing to abort
               0.000s REFUSED v1 has no traffic to give: give it a share in the split of dead
               0.000s REFUSED there is no action A-99 that could still be decided about
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.001s REFUSED rollout r is already running: promote or abort it
               0.001s REFUSED rollout r is already running: promote or abort it
               0.001s REFUSED there is no action A-7 that could still be decided about
               0.001s REFUSED A-1 is already in force: undo it instead
               0.001s REFUSED A-1 can be extended by 1 s to 30d, 31d is not between them
               0.001s SHIFT A-2 promote shop v1=0% v2=100%
               0.001s action A-1 advance: applied
               0.001s action A-2 promote: admitted
               0.001s moved r promoted
               0.002s action A-2 promote: applied
               0.002s REFUSED rollout r is promoted: declare a rollout of the next version
               0.002s REFUSED rollout r is promoted: undo its last action, or declare a rollout the other way round
               0.002s REFUSED A-2 has no end that could be put off
               0.002s REFUSED rollout r is promoted: nothing to pause
        "#]],
    );
}

#[test]
fn a_frozen_release_starts_only_when_a_person_insists() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual freeze=1h
        reload
        start r
        load 300ms shop=2000 shop/v2=60%
        load 6s shop=2000
        start r
        start-frozen r we fixed the dependency
        show splits
        abort r
        show actions",
        &expect![[r#"
            0.000s SHIFT A-1 advance shop v1=95% v2=5%
            0.000s action A-1 advance: admitted
            0.000s moved r in step 1
            0.001s action A-1 advance: applied
            0.100s SHIFT A-2 rollback shop v1=100% v2=0%
            0.100s action A-1 advance: undone: taken back by A-2
            0.100s action A-2 rollback: admitted
            0.100s incident INC-1 Judged, began 0.020s, harmed 6 of 180
            0.100s record INC-1 2 cells -59.980s..0.100s
            0.100s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190)
            0.100s moved r rolled back, frozen until 3600.100s
            0.101s action A-2 rollback: applied
            0.101s incident INC-1 Acted, began 0.020s, harmed 6 of 180
            0.180s action A-2 rollback: verified
            0.180s incident INC-1 Recovered, began 0.020s, harmed 6 of 340
            0.180s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 5.8 % counts as recovered.
            5.180s incident INC-1 Closed, began 0.020s, harmed 6 of 10340
                     |  0.020s first_bad: the first bad response that counts towards it
                     |  0.100s verdict: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190); ln e is 15.5, 6.9 was needed for alpha 0.001
                     |  0.100s proposed: A-2: ln e 15.55 reaches 6.91; protective; mode auto
                     |  0.101s weight_zero: A-2 is in force: the canary gets no new requests
                     |  0.180s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 5.8 % counts as recovered
                     |  0.180s resolved: everybody who was called was told
                     |  5.180s closed: the record is complete
            5.180s record INC-1 2 cells -59.980s..5.180s
            6.310s REFUSED release v2 of shop is frozen for another 59m 54s after its rollback: fix it under a new version name, or start it although it is frozen (`start --frozen`)
            6.310s SHIFT A-3 advance shop v1=95% v2=5%
            6.310s action A-2 rollback: verified
            6.310s action A-3 advance: admitted
            6.310s moved r in step 1
            6.311s action A-3 advance: applied
            6.311s ~ shop v1=95% v2=5%
            6.311s SHIFT A-4 abort shop v1=100% v2=0%
            6.311s action A-3 advance: undone: taken back by A-4
            6.311s action A-4 abort: admitted
            6.311s moved r aborted: by ann
            6.312s action A-4 abort: applied
            6.312s ~ A-1 advance undone: taken back by A-2
            6.312s ~ A-2 rollback verified
            6.312s ~ A-3 advance undone: taken back by A-4
            6.312s ~ A-4 abort applied
        "#]],
    );
}

#[test]
fn a_person_undoes_what_was_done() {
    check(
        "
        service shop v1=100 v2=0
        guard cooldown=0s
        rollout r shop v1>v2 5:manual,50:manual
        reload
        start r
        promote r
        undo A-2 too fast
        show splits
        undo A-3
        resume r
        promote r
        promote r
        undo A-5 wrong button
        show splits
        abort r
        undo A-7
        show splits
        show actions",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.001s SHIFT A-2 advance shop v1=50% v2=50%
               0.001s action A-1 advance: applied
               0.001s action A-2 advance: admitted
               0.001s moved r in step 2
               0.002s action A-2 advance: applied
               0.002s SHIFT A-3 undo shop v1=95% v2=5%
               0.002s action A-2 advance: undone: undone by A-3
               0.002s action A-3 undo: admitted
               0.002s moved r paused in step 1: A-3 put the weights back; resume, promote or abort it
               0.003s action A-3 undo: applied
               0.003s ~ shop v1=95% v2=5%
               0.003s REFUSED A-3 is itself an undo: promote or abort the rollout
               0.003s moved r in step 1
               0.003s SHIFT A-4 advance shop v1=50% v2=50%
               0.003s action A-3 undo: applied
               0.003s action A-4 advance: admitted
               0.003s moved r in step 2
               0.004s action A-4 advance: applied
               0.004s SHIFT A-5 promote shop v1=0% v2=100%
               0.004s action A-4 advance: applied
               0.004s action A-5 promote: admitted
               0.004s moved r promoted
               0.005s action A-5 promote: applied
               0.005s SHIFT A-6 undo shop v1=50% v2=50%
               0.005s action A-5 promote: undone: undone by A-6
               0.005s action A-6 undo: admitted
               0.005s moved r paused in step 2: A-6 put the weights back; resume, promote or abort it
               0.006s action A-6 undo: applied
               0.006s ~ shop v1=50% v2=50%
               0.006s SHIFT A-7 abort shop v1=100% v2=0%
               0.006s action A-6 undo: undone: taken back by A-7
               0.006s action A-7 abort: admitted
               0.006s moved r aborted: by ann
               0.007s action A-7 abort: applied
               0.007s SHIFT A-8 undo shop v1=50% v2=50%
               0.007s action A-7 abort: undone: undone by A-8
               0.007s action A-8 undo: admitted
               0.007s moved r paused in step 2: A-8 put the weights back; resume, promote or abort it
               0.008s action A-8 undo: applied
               0.008s ~ shop v1=50% v2=50%
               0.008s ~ A-1 advance applied
               0.008s ~ A-2 advance undone: undone by A-3
               0.008s ~ A-3 undo applied
               0.008s ~ A-4 advance applied
               0.008s ~ A-5 promote undone: undone by A-6
               0.008s ~ A-6 undo undone: taken back by A-7
               0.008s ~ A-7 abort undone: undone by A-8
               0.008s ~ A-8 undo applied
        "#]],
    );
}

#[test]
fn undoing_a_rollback_restores_the_weight_and_asks_the_judge_anew() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual
        reload
        start r
        load 300ms shop=2000 shop/v2=60%
        undo A-2 known and harmless
        show splits
        load 100ms shop=2000
        resume r
        load 6s shop=2000
        load 300ms shop=2000 shop/v2=60%
        show splits",
        &expect![[r#"
            0.000s SHIFT A-1 advance shop v1=95% v2=5%
            0.000s action A-1 advance: admitted
            0.000s moved r in step 1
            0.001s action A-1 advance: applied
            0.100s SHIFT A-2 rollback shop v1=100% v2=0%
            0.100s action A-1 advance: undone: taken back by A-2
            0.100s action A-2 rollback: admitted
            0.100s incident INC-1 Judged, began 0.020s, harmed 6 of 180
            0.100s record INC-1 2 cells -59.980s..0.100s
            0.100s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190)
            0.100s moved r rolled back, frozen until 7200.100s
            0.101s action A-2 rollback: applied
            0.101s incident INC-1 Acted, began 0.020s, harmed 6 of 180
            0.180s action A-2 rollback: verified
            0.180s incident INC-1 Recovered, began 0.020s, harmed 6 of 340
            0.180s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 5.8 % counts as recovered.
            0.310s SHIFT A-3 undo shop v1=95% v2=5%
            0.310s action A-2 rollback: undone: undone by A-3
            0.310s action A-3 undo: admitted
            0.310s incident INC-1 Recovered, began 0.020s, harmed 6 of 340
            0.310s moved r paused in step 1: A-3 put the weights back; resume, promote or abort it
            0.311s action A-3 undo: applied
            0.311s ~ shop v1=95% v2=5%
            0.420s incident INC-1 Closed, began 0.020s, harmed 6 of 340
                     |  0.020s first_bad: the first bad response that counts towards it
                     |  0.100s verdict: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190); ln e is 15.5, 6.9 was needed for alpha 0.001
                     |  0.100s proposed: A-2: ln e 15.55 reaches 6.91; protective; mode auto
                     |  0.101s weight_zero: A-2 is in force: the canary gets no new requests
                     |  0.180s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 5.8 % counts as recovered
                     |  0.180s resolved: everybody who was called was told
                     |  0.310s proposed: A-3: a person asked: known and harmless; moves 5% on 1 routes; action 3 of 60 within the hour
                     |  0.310s undone: A-2 by ann
                     |  0.420s closed: a person resumed the rollout
            0.420s record INC-1 2 cells -59.980s..0.420s
            0.420s moved r in step 1
            6.520s SHIFT A-4 rollback shop v1=100% v2=0%
            6.520s action A-3 undo: undone: taken back by A-4
            6.520s action A-4 rollback: admitted
            6.520s incident INC-2 Judged, began 6.440s, harmed 6 of 180
            6.520s record INC-2 2 cells -53.560s..6.520s
            6.520s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 0.97 % of its requests failed (6 of 621), against 0.00 % of v1's (0 of 11799)
            6.520s moved r rolled back, frozen until 7206.520s
            6.521s action A-4 rollback: applied
            6.521s incident INC-2 Acted, began 6.440s, harmed 6 of 180
            6.600s action A-4 rollback: verified
            6.600s incident INC-2 Recovered, began 6.440s, harmed 6 of 340
            6.600s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 1.1 % counts as recovered.
            6.720s ~ shop v1=100% v2=0%
        "#]],
    );
}

#[test]
fn a_freeze_can_be_extended_and_ends_without_traffic_returning() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual freeze=1m
        reload
        start r
        load 300ms shop=2000 shop/v2=60%
        load 6s shop=2000
        extend A-2 2h
        idle 1h
        start r
        idle 2h
        show splits
        undo A-2
        start r
        show splits",
        &expect![[r#"
               0.000s SHIFT A-1 advance shop v1=95% v2=5%
               0.000s action A-1 advance: admitted
               0.000s moved r in step 1
               0.001s action A-1 advance: applied
               0.100s SHIFT A-2 rollback shop v1=100% v2=0%
               0.100s action A-1 advance: undone: taken back by A-2
               0.100s action A-2 rollback: admitted
               0.100s incident INC-1 Judged, began 0.020s, harmed 6 of 180
               0.100s record INC-1 2 cells -59.980s..0.100s
               0.100s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190)
               0.100s moved r rolled back, frozen until 60.100s
               0.101s action A-2 rollback: applied
               0.101s incident INC-1 Acted, began 0.020s, harmed 6 of 180
               0.180s action A-2 rollback: verified
               0.180s incident INC-1 Recovered, began 0.020s, harmed 6 of 340
               0.180s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 5.8 % counts as recovered.
               5.180s incident INC-1 Closed, began 0.020s, harmed 6 of 10340
                        |  0.020s first_bad: the first bad response that counts towards it
                        |  0.100s verdict: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190); ln e is 15.5, 6.9 was needed for alpha 0.001
                        |  0.100s proposed: A-2: ln e 15.55 reaches 6.91; protective; mode auto
                        |  0.101s weight_zero: A-2 is in force: the canary gets no new requests
                        |  0.180s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 5.8 % counts as recovered
                        |  0.180s resolved: everybody who was called was told
                        |  5.180s closed: the record is complete
               5.180s record INC-1 2 cells -59.980s..5.180s
               6.310s action A-2 rollback: verified
            3606.310s REFUSED release v2 of shop is frozen for another 1h after its rollback: fix it under a new version name, or start it although it is frozen (`start --frozen`)
            7206.310s action A-2 rollback: expired
            10806.310s ~ shop v1=100% v2=0%
            10806.310s REFUSED A-2 is expired: there is nothing left to decide
            10806.310s SHIFT A-3 advance shop v1=95% v2=5%
            10806.310s action A-3 advance: admitted
            10806.310s moved r in step 1
            10806.311s action A-3 advance: applied
            10806.311s ~ shop v1=95% v2=5%
        "#]],
    );
}

#[test]
fn starting_again_during_the_verification_ends_it() {
    check(
        "
        service shop v1=100 v2=0
        rollout r shop v1>v2 5:manual
        reload
        start r
        load-until-shift 2s shop=2000 shop/v2=60%
        start-frozen r
        load 40s shop=2000
        show actions",
        &expect![[r#"
             0.000s SHIFT A-1 advance shop v1=95% v2=5%
             0.000s action A-1 advance: admitted
             0.000s moved r in step 1
             0.001s action A-1 advance: applied
             0.100s SHIFT A-2 rollback shop v1=100% v2=0%
             0.100s action A-1 advance: undone: taken back by A-2
             0.100s action A-2 rollback: admitted
             0.100s incident INC-1 Judged, began 0.020s, harmed 6 of 180
             0.100s record INC-1 2 cells -59.980s..0.100s
             0.100s notify ops firing CanaryRolledBack (page): shop: canary v2 rolled back: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190)
             0.100s moved r rolled back, frozen until 7200.100s
             0.101s action A-2 rollback: applied
             0.101s incident INC-1 Acted, began 0.020s, harmed 6 of 180
             0.101s SHIFT A-3 advance shop v1=95% v2=5%
             0.101s action A-2 rollback: applied
             0.101s action A-3 advance: admitted
             0.101s incident INC-1 Closed, began 0.020s, harmed 6 of 180
                      |  0.020s first_bad: the first bad response that counts towards it
                      |  0.100s verdict: 60.0 % of its requests failed (6 of 10), against 0.00 % of v1's (0 of 190); ln e is 15.5, 6.9 was needed for alpha 0.001
                      |  0.100s proposed: A-2: ln e 15.55 reaches 6.91; protective; mode auto
                      |  0.101s weight_zero: A-2 is in force: the canary gets no new requests
                      |  0.101s proposed: A-3: a person asked: started although the release is frozen; moves 5% on 1 routes; action 3 of 60 within the hour
                      |  0.101s closed: the rollout was started again
             0.101s record INC-1 2 cells -59.980s..0.101s
             0.101s notify ops resolved CanaryRolledBack (page): the rollout was started again
             0.101s moved r in step 1
             0.102s action A-3 advance: applied
            40.110s ~ A-1 advance undone: taken back by A-2
            40.110s ~ A-2 rollback applied
            40.110s ~ A-3 advance applied
        "#]],
    );
}

#[test]
fn an_announced_change_is_told_in_the_incident_that_is_open_and_suspected_in_the_next() {
    check(
        "
        service shop v1=100 v2=0
        service cart c1=100
        rollout r shop v1>v2 5:manual
        reload
        change shop flag fast-checkout on
        start r
        load 1s shop=2000
        load-until-shift 1s shop=2000 shop/v2=60%
        change cart c1 was restarted
        change shop v2 was built again
        change * the network was changed
        load 10s shop=2000",
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
            1.101s action A-2 rollback: applied
            1.101s incident INC-1 Acted, began 1.030s, harmed 5 of 160
            1.101s incident INC-1 Acted, began 1.030s, harmed 5 of 160
            1.101s incident INC-1 Acted, began 1.030s, harmed 5 of 160
            1.180s action A-2 rollback: verified
            1.180s incident INC-1 Recovered, began 1.030s, harmed 5 of 320
            1.180s notify ops resolved CanaryRolledBack (page): Recovered: 0.00 % bad of 100 requests within 40 ms after the switch, 1.5 % counts as recovered.
            6.180s incident INC-1 Closed, began 1.030s, harmed 5 of 10320
                     |  1.030s first_bad: the first bad response that counts towards it
                     |  1.100s verdict: 4.5 % of its requests failed (5 of 110), against 0.00 % of v1's (0 of 2090); ln e is 7.3, 6.9 was needed for alpha 0.001
                     |  1.100s proposed: A-2: ln e 7.26 reaches 6.91; protective; mode auto
                     |  1.101s weight_zero: A-2 is in force: the canary gets no new requests
                     |  1.101s change: v2 was built again, by ann
                     |  1.101s change: the network was changed, by ann
                     |  1.180s verified: 0.00 % bad of 100 requests within 40 ms after the switch, 1.5 % counts as recovered
                     |  1.180s resolved: everybody who was called was told
                     |  6.180s closed: the record is complete
            6.180s record INC-1 2 cells -58.970s..6.180s
        "#]],
    );
}

#[test]
fn too_many_announcements_are_refused_until_the_minute_is_over() {
    let announcements = |count| "change shop one of many\n".repeat(count);
    let script = format!("service shop v1=100\nreload\n{}idle 1m\n{}", announcements(62), announcements(1));
    check(
        &script,
        &expect![[r#"
        0.000s REFUSED 60 changes were announced within this minute already: announce one per deploy or flag, not one per instance
        0.000s REFUSED 60 changes were announced within this minute already: announce one per deploy or flag, not one per instance
    "#]],
    );
}
