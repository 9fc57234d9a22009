//! `homeostat profile off-cpu`: where threads wait and for how long, by a program in the kernel.

use std::time::Duration;

use homeostat_sense_kernel::{Targets, WaitShare};

use super::{
    profile::{Failed, Presentation},
    programs::Programs,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Share of all waits that is sampled, in percent, for programs that wait very often
    #[arg(long, value_name = "PERCENT", default_value = "100")]
    share: WaitShare,
    #[command(flatten)]
    presentation: Presentation,
}

pub(super) fn run(asked: &Args) -> Result<(), Failed> {
    asked.presentation.file()?;
    let (targets, title) = asked.programs.targets()?;
    capture(&targets, &title, asked.share, asked.programs.duration(), &asked.presentation)
}

#[cfg(feature = "bpf")]
fn capture(
    targets: &Targets,
    title: &str,
    share: WaitShare,
    duration: Duration,
    how: &Presentation,
) -> Result<(), Failed> {
    use homeostat_sense_kernel::{StackCapture, Unwind};

    let refused = |refused: homeostat_sense_kernel::Refused| refused.to_string();
    let mut capture = StackCapture::of_waits(targets, share, Unwind::Copies).map_err(refused)?;
    eprintln!("sampling where {title} waits for {} s", duration.as_secs());
    capture.gather(duration).map_err(refused)?;
    let (profile, stats) = capture.finish().map_err(refused)?;
    eprintln!("{}", super::profile_cpu::said_of(&stats));
    if stats.go_processes != 0 {
        eprintln!(
            "goroutines wait without a thread: these are the waits of the runtime's threads; `homeostat profile goroutines` says \
             what goroutines wait for"
        );
    }
    if stats.samples == 0 {
        return Err(format!("no wait of {title} has ended: there is nothing to show"));
    }
    super::profile::present(&profile, title, how)
}

#[cfg(not(feature = "bpf"))]
fn capture(_: &Targets, _: &str, _: WaitShare, _: Duration, _: &Presentation) -> Result<(), Failed> {
    Err(format!("{}: {}", homeostat_sense_kernel::NOT_BUILT, homeostat_sense_kernel::HOW_TO_BUILD))
}
