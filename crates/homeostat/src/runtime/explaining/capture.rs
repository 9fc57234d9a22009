//! The capture on demand: once an incident is opened, profiles of both sides are taken for longer, at the same time.
//!
//! ```text
//!  rings     [ w ][ w ][ w ][ w ]│[ w ][ w ][ w ]          of each program, all the time
//!                            ▲  opened   capture  ▲
//!                            │                    └ compared as soon as every program has a window with its census that ends here
//!                            └ the window under way is waited for: it holds a canary that is taken back already
//! ```
//!
//! A capture is windows like all others, because a comparison needs several a side to know what is noise; one long profile
//! would hide it, and a program has one at a time. So whoever measures is not interrupted: the order to capture makes those
//! try again at once that were left alone after a failure, and try more often while it lasts. A side without traffic adds
//! next to nothing, and what was held of it stands; a side with traffic adds samples.
//!
//! Not here: asking programs (`watch`), which windows stand for which side (`sides`).
//! Invariant: it ends, whatever programs do.

use homeostat_model::{Span, Timestamp, incident::Subject};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    super::{clock::Clock, shared::lock},
    sides::Held,
};
use crate::config::Taken;

/// How long a program that answers late is waited for, and the disk that keeps the recording.
const LATE_ANSWER: Span = Span::from_secs(2);
/// How long samples of the kernel may take to get their names: a program of 100 MiB with lines and inlined calls took some
/// seconds on a busy machine. Two windows may be in work.
const NAMES_TAKE: Span = Span::from_secs(20);

/// Has profiles of the incident's sides taken until the capture is over, and waits for them. Gives what is missing.
pub(super) async fn capture(subject: &Subject, opened_at: Timestamp, held: &[Held], clock: Clock) -> Vec<String> {
    let (began, now) = (Instant::now(), clock.now());
    let of_sides: Vec<&Held> = held.iter().filter(|held| is_of_sides(subject, held)).collect();
    let ends = |held: &Held| opened_at + held.profiled.capture;
    let left = |until: Timestamp| std::time::Duration::from(until.since(now));
    // All before any is waited for: both sides are measured at once.
    for held in &of_sides {
        lock(&held.ring).order(began + left(ends(held)));
    }
    // The recording has its last instant when the incident is opened; it is on disk a moment later.
    sleep(LATE_ANSWER.into()).await;
    let mut missing = Vec::new();
    for held in of_sides {
        let until = ends(held);
        let late = match held.profiled.taken {
            Taken::ByItself { .. } => LATE_ANSWER,
            Taken::ByTheKernel { .. } => NAMES_TAKE,
        };
        let given_up = began + left(until + held.profiled.window + late);
        let mut newest = lock(&held.ring).newest();
        let covered = newest.wait_for(|newest| newest.is_some_and(|newest| until <= newest));
        if timeout_at(given_up, covered).await.is_err() {
            let trouble = lock(&held.ring).trouble();
            let trouble = trouble.as_deref().unwrap_or("it has not answered in time");
            let (version, endpoint) = (&held.profiled.version, &held.profiled.endpoint);
            missing.push(format!("profiles of {version} at {endpoint} since the incident was opened: {trouble}"));
        } else if let Some(why) = lock(&held.ring).no_census() {
            let (version, endpoint) = (&held.profiled.version, &held.profiled.endpoint);
            missing.push(format!("goroutines of {version} at {endpoint}: {why}"));
        }
    }
    missing
}

fn is_of_sides(subject: &Subject, held: &Held) -> bool {
    match subject {
        Subject::Canary { canary, baseline, .. } => [canary, baseline].contains(&&held.profiled.version),
        Subject::Objective { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{
        super::watch::{Measured, Ring, Window},
        *,
    };
    use crate::config::Profiled;

    fn held(version: &str) -> Held {
        let endpoint = "10.0.0.1:80";
        let profiled = Profiled {
            service: "kv".parse().unwrap(),
            version: version.parse().unwrap(),
            endpoint: endpoint.to_owned(),
            taken: Taken::ByItself { base: format!("http://{endpoint}") },
            window: Span::from_secs(10),
            capture: Span::from_secs(30),
        };
        Held { profiled, ring: Arc::new(Mutex::new(Ring::default())) }
    }

    fn window(held: &Held, to: Timestamp) {
        let packed = Vec::new().into();
        lock(&held.ring).push(Window { measured: Measured::Cpu, from: to - Span::from_secs(10), to, packed });
    }

    /// A window whose census is in.
    fn whole(held: &Held, to: Timestamp) {
        window(held, to);
        lock(&held.ring).complete(to, None);
    }

    fn canary() -> Subject {
        let [canary, baseline] = ["v2", "v1"].map(|version| version.parse().unwrap());
        Subject::Canary { rollout: "kv-v2".parse().unwrap(), canary, baseline }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_both_sides_have_a_window_at_its_end() {
        let clock = Clock::start(None);
        let (opened, [good, bad, other]) = (clock.now(), ["v1", "v2", "v0"].map(held));
        let all = [good.clone(), bad.clone(), other];
        let began = Instant::now();
        let capturing = tokio::spawn(async move { (capture(&canary(), opened, &all, clock).await, began.elapsed()) });
        sleep(std::time::Duration::from_secs(1)).await;
        assert!(lock(&good.ring).ordered().is_some() && lock(&bad.ring).ordered().is_some(), "both at once");
        for to in [5, 15, 25] {
            whole(&good, opened + Span::from_secs(to));
            whole(&bad, opened + Span::from_secs(to));
        }
        whole(&good, opened + Span::from_secs(35));
        window(&bad, opened + Span::from_secs(36));
        sleep(std::time::Duration::from_secs(10)).await;
        assert!(!capturing.is_finished(), "the census of one side is not in");
        lock(&bad.ring).complete(opened + Span::from_secs(36), Some("it answered with 500".to_owned()));
        let (missing, took) = capturing.await.unwrap();
        let expected = "goroutines of v2 at 10.0.0.1:80: it answered with 500";
        assert_eq!(missing, [expected], "v0 has no part in it");
        assert_eq!(took.as_secs(), 11, "paused time");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_told_and_waited_for_so_long() {
        let clock = Clock::start(None);
        let (opened, bad) = (clock.now(), held("v2"));
        lock(&bad.ring).failed("somebody else measures".to_owned());
        let began = Instant::now();
        let missing = capture(&canary(), opened, &[bad], clock).await;
        let expected = "profiles of v2 at 10.0.0.1:80 since the incident was opened: somebody else measures";
        assert_eq!(missing, [expected]);
        assert!((41..=42).contains(&began.elapsed().as_secs()), "paused time");
    }
}
