//! Remote write 1.0 requests, made before the clock starts so that the sender costs next to nothing while it runs.

use std::ops::Range;

use bytes::Bytes;

use crate::{Failed, series::fleet::Fleet};

/// Samples of one request: what Prometheus sends at once by default (`max_samples_per_send`).
const SAMPLES_PER_REQUEST: usize = 2_000;

/// Requests of one connection, in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) bodies: Vec<Bytes>,
}

/// Requests for all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// Each series always travels in the same lane, so that its samples arrive in order.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) samples: usize,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// A protobuf `WriteRequest` under construction.
#[derive(Debug, Default)]
struct Request {
    proto: Vec<u8>,
    series: Vec<u8>,
    samples: usize,
}

impl Request {
    fn begin(&mut self, labels: &[(&str, &str)]) {
        self.series.clear();
        for (name, value) in labels {
            let pair = field_len(name.len()) + field_len(value.len());
            self.series.push(0x0a);
            varint(&mut self.series, pair as u64);
            text(&mut self.series, 0x0a, name);
            text(&mut self.series, 0x12, value);
        }
    }

    fn sample(&mut self, t_ms: i64, value: f64) {
        let mut cursor = Vec::with_capacity(24);
        cursor.push(0x09);
        cursor.extend_from_slice(&value.to_le_bytes());
        cursor.push(0x10);
        varint(&mut cursor, t_ms as u64);
        self.series.push(0x12);
        varint(&mut self.series, cursor.len() as u64);
        self.series.extend_from_slice(&cursor);
        self.samples += 1;
    }

    fn end(&mut self) {
        self.proto.push(0x0a);
        varint(&mut self.proto, self.series.len() as u64);
        self.proto.extend_from_slice(&self.series);
    }

    fn finish(&mut self) -> Result<Option<Bytes>, Failed> {
        if self.samples == 0 {
            return Ok(None);
        }
        let body = snap::raw::Encoder::new().compress_vec(&self.proto)?;
        self.proto.clear();
        self.samples = 0;
        Ok(Some(body.into()))
    }
}

fn field_len(len: usize) -> usize {
    1 + len.checked_ilog2().map_or(1, |bits| bits as usize / 7 + 1) + len
}

fn text(into: &mut Vec<u8>, tag: u8, text: &str) {
    into.push(tag);
    varint(into, text.len() as u64);
    into.extend_from_slice(text.as_bytes());
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// What a fleet shows in `scrapes` scrapes that end at `end_ms`, for so many connections.
pub(crate) fn of_fleet(
    fleet: &mut Fleet,
    scrapes: usize,
    interval_ms: i64,
    end_ms: i64,
    lanes: usize,
) -> Result<Load, Failed> {
    let start_ms = end_ms - (scrapes as i64 - 1) * interval_ms;
    let mut load = Load { lanes: vec![Lane::default(); lanes], samples: 0, start_ms, end_ms };
    let share = fleet.targets().div_ceil(lanes);
    let mut request = Request::default();
    for scrape in 0..scrapes {
        let t_ms = start_ms + scrape as i64 * interval_ms;
        for (lane, into) in load.lanes.iter_mut().enumerate() {
            let targets: Range<usize> = lane * share..((lane + 1) * share).min(fleet.targets());
            for target in targets {
                fleet.scrape(target, |labels, value| {
                    request.begin(labels);
                    // Scrapes are spread over the interval, as every scraper does.
                    request.sample(t_ms - (target as i64 * 7919) % interval_ms, value);
                    request.end();
                    load.samples += 1;
                });
                if request.samples >= SAMPLES_PER_REQUEST {
                    into.bodies.extend(request.finish()?);
                }
            }
            into.bodies.extend(request.finish()?);
        }
        fleet.step();
    }
    Ok(load)
}

/// Some series over many days, one sample a minute: the history that long queries read. One lane, in order of time.
pub(crate) fn history(series: usize, days: i64, end_ms: i64) -> Result<Load, Failed> {
    const INTERVAL_MS: i64 = 60_000;
    const RUN: i64 = 10;
    let start_ms = (end_ms - days * 86_400_000) / INTERVAL_MS * INTERVAL_MS;
    let mut load = Load { lanes: vec![Lane::default()], samples: 0, start_ms, end_ms };
    let mut request = Request::default();
    let names: Vec<_> = (0..series).map(|at| (format!("site-{}", at % 10), format!("sensor-{at}"))).collect();
    let mut begin = start_ms;
    while begin < end_ms {
        for (at, (site, sensor)) in names.iter().enumerate() {
            request.begin(&[("__name__", "power_watts"), ("sensor", sensor), ("site", site)]);
            for t_ms in (0..RUN).map(|minute| begin + minute * INTERVAL_MS).take_while(|t_ms| *t_ms < end_ms) {
                let day = (t_ms % 86_400_000) as f64 / 86_400_000.0 * std::f64::consts::TAU;
                let wobble = (t_ms / INTERVAL_MS * 31 + at as i64 * 17) % 23;
                let watts = 500.0 + 300.0 * (day + at as f64).sin() + wobble as f64;
                request.sample(t_ms, (watts * 10.0).round() / 10.0);
                load.samples += 1;
            }
            request.end();
            if request.samples >= SAMPLES_PER_REQUEST
                && let (Some(lane), Some(body)) = (load.lanes.first_mut(), request.finish()?)
            {
                lane.bodies.push(body);
            }
        }
        begin += RUN * INTERVAL_MS;
    }
    if let (Some(lane), Some(body)) = (load.lanes.first_mut(), request.finish()?) {
        lane.bodies.push(body);
    }
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_nested_fields_are_right() {
        for len in [0, 1, 127, 128, 300, 16_383, 16_384] {
            let mut out = Vec::new();
            text(&mut out, 0x0a, &"x".repeat(len));
            assert_eq!(out.len(), field_len(len), "{len}");
        }
    }

    #[test]
    fn each_scrape_of_each_target_is_sent_once() {
        let mut fleet = Fleet::new(4_000, 15.0, 1);
        let load = of_fleet(&mut fleet, 3, 15_000, 1_000_000_000, 4).unwrap();
        assert_eq!(load.samples, 3 * 4_000);
        assert_eq!(load.lanes.len(), 4);
        assert!(load.lanes.iter().all(|lane| lane.bodies.len() == 3));
    }
}
