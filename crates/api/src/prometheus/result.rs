//! Results of queries as JSON, point by point.

use homeostat_model::{Histogram, SampleValue, TimeMs};
use homeostat_promql::{
    eval::{MatrixSeries, Value, VectorElement},
    histogram::buckets,
};

use super::{
    json::{self, push_labels, push_text},
    number::{push_integer, push_plain, push_time, push_value},
    stream::{Gone, Writer},
};

/// Writes what stands under `result`.
pub(crate) fn write(writer: &mut Writer, value: &Value) -> Result<(), Gone> {
    match value {
        Value::Scalar { t_ms, value } => {
            push_pair(&mut writer.buffer, *t_ms, |out| {
                out.push(b'"');
                push_plain(out, *value);
                out.push(b'"');
            });
            Ok(())
        }
        Value::Text { t_ms, text } => {
            push_pair(&mut writer.buffer, *t_ms, |out| push_text(out, text));
            Ok(())
        }
        Value::Vector(elements) => json::list(writer, elements, push_element),
        Value::Matrix(series) => write_matrix(writer, series),
    }
}

fn push_element(out: &mut Vec<u8>, element: &VectorElement) {
    out.extend_from_slice(br#"{"metric":"#);
    push_labels(out, &element.labels);
    match &element.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(br#","value":"#);
            push_float(out, element.t_ms, *value);
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(br#","histogram":"#);
            push_histogram(out, element.t_ms, histogram);
        }
    }
    out.push(b'}');
}

fn write_matrix(writer: &mut Writer, matrix: &[MatrixSeries]) -> Result<(), Gone> {
    writer.buffer.push(b'[');
    for (index, series) in matrix.iter().enumerate() {
        writer.buffer.extend_from_slice(if index == 0 { br#"{"metric":"# } else { br#",{"metric":"# });
        push_labels(&mut writer.buffer, &series.labels);
        if !series.floats.is_empty() {
            writer.buffer.extend_from_slice(br#","values":"#);
            json::list(writer, &series.floats, |out, (t_ms, value)| push_float(out, *t_ms, *value))?;
        }
        if !series.histograms.is_empty() {
            writer.buffer.extend_from_slice(br#","histograms":"#);
            json::list(writer, &series.histograms, |out, (t_ms, histogram)| push_histogram(out, *t_ms, histogram))?;
        }
        writer.buffer.push(b'}');
        writer.checkpoint()?;
    }
    writer.buffer.push(b']');
    Ok(())
}

/// Appends `[1435781451.781,…]`.
fn push_pair(out: &mut Vec<u8>, t_ms: TimeMs, push: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'[');
    push_time(out, t_ms);
    out.push(b',');
    push(out);
    out.push(b']');
}

/// Appends `[1435781451.781,"1.5"]`.
pub(crate) fn push_float(out: &mut Vec<u8>, t_ms: TimeMs, value: f64) {
    out.push(b'[');
    push_time(out, t_ms);
    out.extend_from_slice(b",\"");
    push_value(out, value);
    out.extend_from_slice(b"\"]");
}

/// Appends `[1435781451.781,{"count":"3","sum":"6.5","buckets":[[0,"1","2","3"]]}]`. The first number of a bucket says
/// which of its bounds belong to it; empty buckets are left out.
pub(crate) fn push_histogram(out: &mut Vec<u8>, t_ms: TimeMs, histogram: &Histogram) {
    out.push(b'[');
    push_time(out, t_ms);
    out.extend_from_slice(br#",{"count":""#);
    push_value(out, histogram.count);
    out.extend_from_slice(br#"","sum":""#);
    push_value(out, histogram.sum);
    out.push(b'"');
    let populated = buckets(histogram).filter(|bucket| bucket.count != 0.0);
    let mut any = false;
    for bucket in populated {
        out.extend_from_slice(if any { b",[" } else { br#","buckets":[["# });
        any = true;
        push_integer(out, bucket.boundary_rule().into());
        for value in [bucket.lower, bucket.upper, bucket.count] {
            out.extend_from_slice(b",\"");
            push_value(out, value);
            out.push(b'"');
        }
        out.push(b']');
    }
    if any {
        out.push(b']');
    }
    out.extend_from_slice(b"}]");
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA};

    use super::*;

    fn shown(histogram: &Histogram) -> String {
        let mut out = Vec::new();
        push_histogram(&mut out, 1500, histogram);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn buckets_say_which_bounds_belong_to_them() {
        let histogram = Histogram {
            count: 9.0,
            sum: -1.5,
            zero_threshold: 0.25,
            zero_count: 3.0,
            positive: Buckets::from_sorted([(0, 2.0), (1, 0.0), (2, 1.0)]),
            negative: Buckets::from_sorted([(1, 3.0)]),
            ..Histogram::default()
        };
        assert_eq!(
            shown(&histogram),
            r#"[1.500,{"count":"9","sum":"-1.5","buckets":[[1,"-2","-1","3"],[3,"-0.25","0.25","3"],[0,"0.5","1","2"],[0,"2","4","1"]]}]"#
        );
        assert_eq!(shown(&Histogram::default()), r#"[1.500,{"count":"0","sum":"0"}]"#);
    }

    #[test]
    fn custom_bounds_reach_from_end_to_end() {
        let histogram = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 3.0,
            positive: Buckets::from_sorted([(0, 1.0), (2, 2.0)]),
            custom_bounds: [5.0, 10.0].into(),
            ..Histogram::default()
        };
        assert_eq!(
            shown(&histogram),
            r#"[1.500,{"count":"3","sum":"0","buckets":[[3,"-Inf","5","1"],[0,"10","+Inf","2"]]}]"#
        );
    }
}
