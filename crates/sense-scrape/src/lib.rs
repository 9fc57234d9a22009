//! Scrapes what targets expose, and finds the targets.
//!
//! ```text
//! files, URLs, DNS ── groups ──▶ job ── relabelled ──▶ targets, a scraper each
//!                                                        │ GET, bounded in time and bytes
//!                                                        ▼
//!         sink ◀── batch: samples, ends of series, `up` ── cycle (labels once a series, staleness)
//! ```
//!
//! Behaves as Prometheus does with the same `scrape_configs`: relabelling, `honor_labels`, limits, staleness markers, and
//! the series about the scrape itself. Intervals go down to 100 ms.
//!
//! Not here: reading configuration files (the binary), formats as bytes (`wire`), storage (the sink).
//! Invariants: a scrape is stored whole or not at all; two scrapes of one target never run at once; the last good list
//! of targets stays when its source breaks.

mod credentials;
pub mod cycle;
pub mod discover;
pub mod duration;
pub mod fetch;
mod format;
pub mod manager;
pub mod scraper;
pub mod sink;
pub mod spec;
pub mod target;
mod tls;
