//! Which format an answer is in, and reading it.

use homeostat_wire::{
    intake::SeriesSink,
    scrape::{self, ClassicBuckets, ScrapeError, ScrapeLimits, ScrapeOptions},
};

use crate::{
    cycle::Scrape,
    fetch::Answer,
    spec::{Format, Job},
};

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// It does not say what it is, and nobody else does.
    #[error(
        "the answer's content type {content_type:?} is no exposition; mend the target, or set `fallback_scrape_protocol`"
    )]
    Unknown {
        /// As sent.
        content_type: String,
    },
    /// It is not what it says.
    #[error("the answer cannot be read")]
    Broken(#[from] ScrapeError),
}

/// Reads an answer into a scrape.
pub(crate) fn read<S: SeriesSink>(answer: &Answer, job: &Job, into: &mut Scrape<'_, S>) -> Result<(), FormatError> {
    let format = scrape::Format::of_content_type(&answer.content_type).or(job.fallback_format.map(wire_format));
    let unknown = || FormatError::Unknown { content_type: answer.content_type.clone() };
    let format = format.ok_or_else(unknown)?;
    let body_bytes_max = usize::try_from(job.limits.body_bytes).unwrap_or(usize::MAX);
    let classic = if job.classic_beside_native { ClassicBuckets::Always } else { ClassicBuckets::WithoutNative };
    let options = ScrapeOptions { limits: ScrapeLimits { body_bytes_max, ..ScrapeLimits::default() }, classic };
    Ok(scrape::parse(format, &answer.body, &options, into)?)
}

const fn wire_format(format: Format) -> scrape::Format {
    match format {
        Format::Protobuf => scrape::Format::Protobuf,
        Format::OpenMetrics0 | Format::OpenMetrics1 => scrape::Format::OpenMetrics,
        Format::Text0 | Format::Text1 => scrape::Format::Text,
    }
}
