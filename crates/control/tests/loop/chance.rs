//! Chance: random days, every invariant after every step, and the same commands after a restore at any point.
//! proptest prints the failing case and keeps its seed under `proptest-regressions`.

use std::collections::BTreeMap;

use homeostat_control::{Control, Event};
use homeostat_model::{ActionId, Actor, ChangeEvent, ChangeKind, Span, Timestamp, action::Decision, rollout::Verb};
use proptest::prelude::*;

use crate::{
    harness::{Fault, Loop, START},
    script::declare,
};

/// Configurations that the random days switch between.
const CONFIGURATIONS: [&str; 4] = [
    "service shop v1=100 v2=0 slow=100ms
     service cart c1=100 c2=0 routes=2
     guard cooldown=2s rate=12
     objective avail shop 99% page:10:10s:1s,ticket:2:30s:3s rollback min=20
     rollout r shop v1>v2 5:pause:1s,25:evidence:1s,50:pause:1s progress=40s verify=3s freeze=20s tolerance=5 sli=100ms
     rollout c cart c1>c2 10:pause:1s,50:pause:1s start=auto progress=1m verify=2s freeze=10s tolerance=2",
    "service shop v1=100 v2=0 slow=100ms
     service cart c1=60 c2=40 routes=2
     guard cooldown=0s rate=20 approval=3s mode=auto
     objective avail shop 99% page:10:10s:1s,ticket:2:30s:3s rollback min=20
     rollout r shop v1>v2 5:pause:1s,10:pause:1s mode=approve progress=40s verify=3s freeze=20s tolerance=5 sli=100ms
     rollout c cart c1>c2 10:pause:1s,50:pause:1s start=auto progress=1m verify=2s freeze=10s tolerance=2",
    "service shop v1=80 v2=20
     service cart c1=100 c2=0 routes=2
     guard cooldown=1s rate=20
     rollout c cart c1>c2 10:evidence:1s mode=observe progress=1m verify=2s freeze=10s",
    "service shop v1=50 v2=20 v3=30
     service cart c1=100 c2=0
     guard cooldown=0s rate=5 traffic=30
     objective avail shop 95% page:5:5s:1s min=20
     rollout r shop v1>v3 5:pause:1s,25:pause:1s start=auto progress=20s verify=3s freeze=5s tolerance=5
     rollout c cart c2>c1 100:manual progress=1m",
];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    Load { ticks: u16, rate: u16, errors: [u8; 2] },
    Idle { ms: u32 },
    Order(u8, bool),
    Decide { back: u8, what: u8 },
    BreakGlass(bool),
    Reload(u8),
    Restart,
    Forget { records: u16 },
    Applies(bool),
    Answer { back: u8, fails: bool, ahead: bool },
    Change,
}

fn happening() -> impl Strategy<Value = Happening> {
    let share = prop_oneof![3 => Just(0_u8), 1 => Just(30), 1 => 0..=100_u8];
    prop_oneof![
        10 => (1..250_u16, prop_oneof![Just(40_u16), Just(400), Just(2_000)], [share.clone(), share])
            .prop_map(|(ticks, rate, errors)| Happening::Load { ticks, rate, errors }),
        2 => (1..30_000_u32).prop_map(|ms| Happening::Idle { ms }),
        6 => (0..6_u8, any::<bool>()).prop_map(|(verb, cart)| Happening::Order(verb, cart)),
        3 => (0..4_u8, 0..4_u8).prop_map(|(back, what)| Happening::Decide { back, what }),
        1 => any::<bool>().prop_map(Happening::BreakGlass),
        2 => (0..4_u8).prop_map(Happening::Reload),
        1 => Just(Happening::Restart),
        1 => (0..500_u16).prop_map(|records| Happening::Forget { records }),
        2 => any::<bool>().prop_map(Happening::Applies),
        2 => (0..4_u8, any::<bool>(), any::<bool>())
            .prop_map(|(back, fails, ahead)| Happening::Answer { back, fails, ahead }),
        1 => Just(Happening::Change),
    ]
}

/// Lives through the happenings and writes down every command as JSON.
fn live(happenings: &[Happening], restore_every: u64) -> Vec<String> {
    let mut world = Loop::new(restore_every);
    let mut said = Vec::new();
    let mut keep = |out: Vec<(Timestamp, homeostat_control::Command)>| {
        said.extend(out.iter().map(|(at, c)| format!("{} {}", at.unix_ns(), serde_json::to_string(c).unwrap())));
    };
    declare(&mut world, CONFIGURATIONS[0]);
    let spec = world.spec.clone();
    keep(world.step(Event::Configured(Box::new(spec))));
    for happening in happenings {
        keep(happen(&mut world, happening));
        world.now = world.now + Span::from_us(1);
    }
    said
}

fn happen(world: &mut Loop, happening: &Happening) -> Vec<(Timestamp, homeostat_control::Command)> {
    let newest = |world: &Loop, back: u8| {
        let actions = world.control.view(world.now).actions;
        actions.get(back as usize).map_or(ActionId(77), |a| a.plan.id)
    };
    let by = Actor::new("monkey");
    match happening {
        Happening::Load { ticks, rate, errors } => {
            let rates = ["shop", "cart"].map(|s| (s.parse().unwrap(), f64::from(*rate)));
            let fault = |percent: u8| Fault { errors: f64::from(percent) / 100.0, slow: 0.01, ..Fault::default() };
            let faults: BTreeMap<_, _> = [("shop", "v1", 0), ("shop", "v2", 1), ("shop", "v3", 1), ("cart", "c2", 1)]
                .map(|(s, v, which)| ((s.parse().unwrap(), v.parse().unwrap()), fault(errors[which])))
                .into();
            (0..*ticks).flat_map(|_| world.tick(&BTreeMap::from(rates.clone()), &faults)).collect()
        }
        Happening::Idle { ms } => {
            let until = world.now + Span::from_ms(u64::from(*ms));
            world.idle(until)
        }
        Happening::Order(verb, cart) => {
            let verbs = [Verb::Start, Verb::StartFrozen, Verb::Pause, Verb::Resume, Verb::Promote, Verb::Abort];
            let rollout = if *cart { "c" } else { "r" }.parse().unwrap();
            world.step(Event::Rollout { rollout, verb: verbs[*verb as usize], by, reason: String::new() })
        }
        Happening::Decide { back, what } => {
            let decision = match what {
                0 => Decision::Approve,
                1 => Decision::Reject,
                2 => Decision::Undo,
                _ => Decision::Extend { ttl: Span::from_secs(7) },
            };
            let action = newest(world, *back);
            world.step(Event::Decide { action, decision, by, reason: String::new() })
        }
        Happening::BreakGlass(engaged) => {
            world.step(Event::BreakGlass { engaged: *engaged, by, reason: String::new() })
        }
        Happening::Reload(which) => {
            declare(world, CONFIGURATIONS[*which as usize]);
            let spec = world.spec.clone();
            world.step(Event::Configured(Box::new(spec)))
        }
        Happening::Restart => world.restart(Span::from_secs(3)),
        Happening::Forget { records } => world.restart_with_a_hole(Span::from_secs(3), u64::from(*records)),
        Happening::Applies(applies) => {
            world.applies = *applies;
            Vec::new()
        }
        Happening::Answer { back, fails, ahead } => {
            let action = newest(world, *back);
            world.step(if *fails {
                Event::Failed { action, reason: "no".to_owned() }
            } else {
                Event::Applied { action, ahead_of_disk: *ahead }
            })
        }
        Happening::Change => world.step(Event::Changed(ChangeEvent {
            at: world.now,
            kind: ChangeKind::Deploy,
            service: None,
            version: None,
            summary: "something".to_owned(),
            by,
        })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_loop_says_the_same(happenings in prop::collection::vec(happening(), 1..40), every in 1_u64..400) {
        let plain = live(&happenings, 0);
        let restored = live(&happenings, every);
        prop_assert_eq!(plain, restored);
    }
}

/// The random days must reach what they are about, or they prove nothing.
#[test]
fn random_days_are_eventful() {
    use proptest::{
        strategy::ValueTree,
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut said = Vec::new();
    for _ in 0..48 {
        let day = prop::collection::vec(happening(), 40).new_tree(&mut runner).unwrap().current();
        said.extend(live(&day, 0));
    }
    let text = said.join("\n");
    for word in [
        "\"rollback\"",
        "\"promote\"",
        "\"undo\"",
        "\"abort\"",
        "verified",
        "unverified",
        "awaiting_approval",
        "frozen",
        "ErrorBudgetBurn",
        "CanaryRolledBack",
        "late_record",
        "JournalRecordsLost",
        "closed",
        "refuse",
    ] {
        assert!(text.contains(word), "48 random days without {word}");
    }
}

#[test]
fn a_control_that_knows_nothing_survives_anything() {
    let mut control = Control::new(START);
    let ids = [0, 1, u64::MAX].map(ActionId);
    for action in ids {
        control.step(START, Event::Applied { action, ahead_of_disk: true });
        control.step(START, Event::Failed { action, reason: String::new() });
    }
    assert!(control.step(START, Event::Tick { deltas: Vec::new() }).is_empty());
    assert!(control.step(START, Event::Restarted).is_empty());
    assert_eq!(control.next_deadline(), None);
    assert!(Control::restore(b"{}").is_err());
    assert!(Control::restore(b"{\"version\":2}").unwrap_err().to_string().contains("version 2"));
}
