//! `homeostat profile cpu`: samples what runs on the CPUs, by a program in the kernel.

use std::time::Duration;

use homeostat_sense_kernel::{SampleRate, Targets};

use super::{
    profile::{Failed, Presentation},
    programs::chosen,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Processes, with all their threads
    #[arg(long, value_name = "PID", num_args = 1.., conflicts_with_all = ["service", "machine"])]
    pid: Vec<u32>,
    /// Processes of a service: the name of a program's file, or of a systemd unit without `.service`
    #[arg(long, value_name = "NAME", conflicts_with = "machine")]
    service: Option<String>,
    /// Every process, and the kernel
    #[arg(long)]
    machine: bool,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Samples per second and CPU, 19 to 2000
    #[arg(long, value_name = "RATE", default_value = "99")]
    hz: SampleRate,
    /// How stacks are walked
    #[arg(long, value_enum, default_value_t = Walk::Auto)]
    unwind: Walk,
    #[command(flatten)]
    presentation: Presentation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Walk {
    /// Go by frame pointers, everything else from copies of its stack
    Auto,
    /// By frame pointers only: cheapest, and right for what was built with them
    FramePointers,
}

pub(super) fn run(asked: &Args) -> Result<(), Failed> {
    asked.presentation.file()?;
    let (targets, title) = targets(asked)?;
    let duration = Duration::from_secs(asked.seconds);
    capture(&targets, &title, asked.hz, asked.unwind, duration, &asked.presentation)
}

fn targets(asked: &Args) -> Result<(Targets, String), Failed> {
    if asked.machine {
        return Ok((Targets::Machine, "the whole machine".to_owned()));
    }
    if asked.pid.is_empty() && asked.service.is_none() {
        return Err("whose profile? say `--pid`, `--service` or `--machine`".to_owned());
    }
    chosen(&asked.pid, asked.service.as_deref())
}

#[cfg(feature = "bpf")]
fn capture(
    targets: &Targets,
    title: &str,
    rate: SampleRate,
    walk: Walk,
    duration: Duration,
    how: &Presentation,
) -> Result<(), Failed> {
    use homeostat_sense_kernel::{StackCapture, Unwind};

    let refused = |refused: homeostat_sense_kernel::Refused| refused.to_string();
    let unwind = if walk == Walk::Auto { Unwind::Copies } else { Unwind::FramePointers };
    let mut capture = StackCapture::of_cpus(targets, rate, unwind).map_err(refused)?;
    eprintln!("sampling {title} for {} s at {} Hz", duration.as_secs(), rate.hz());
    capture.gather(duration).map_err(refused)?;
    let (profile, stats) = capture.finish().map_err(refused)?;
    eprintln!("{}", said_of(&stats));
    if stats.samples == 0 {
        return Err(format!("{title} did not run: there is nothing to show"));
    }
    super::profile::present(&profile, title, how)
}

/// What there is to know about how it went.
#[cfg(feature = "bpf")]
pub(super) fn said_of(stats: &homeostat_sense_kernel::CaptureStats) -> String {
    use std::fmt::Write as _;

    let named = 100.0 * stats.frames_named as f64 / stats.frames.max(1) as f64;
    let plural = if stats.processes == 1 { "" } else { "es" };
    let (samples, processes, cost) = (stats.samples, stats.processes, 100.0 * stats.cost());
    let mut text = format!(
        "{samples} samples of {processes} process{plural}, {named:.1} % of frames named, at the cost of {cost:.2} % of one CPU"
    );
    for (count, what) in [
        (stats.lost, "found no room"),
        (stats.copies_missed, "were walked by frame pointers since their stacks could not be copied"),
        (stats.without_stack, "lack their stack or a part of it"),
    ] {
        if count != 0 {
            let _ = write!(text, "; {count} {what}");
        }
    }
    text
}

#[cfg(not(feature = "bpf"))]
fn capture(_: &Targets, _: &str, _: SampleRate, _: Walk, _: Duration, _: &Presentation) -> Result<(), Failed> {
    Err(format!("{}: {}", homeostat_sense_kernel::NOT_BUILT, homeostat_sense_kernel::HOW_TO_BUILD))
}
