//! The answer to an export.

use super::OtlpOutcome;
use crate::protobuf::{put_int, put_message, put_text};

/// `ExportMetricsServiceResponse` in protobuf: empty unless something was rejected.
pub fn response(outcome: &OtlpOutcome) -> Vec<u8> {
    let mut out = Vec::new();
    if 0 < outcome.rejected {
        put_message(1, &mut out, |out| {
            put_int(1, outcome.rejected as i64, out);
            put_text(2, &outcome.message, out);
        });
    }
    out
}

/// The same in JSON; whole numbers of 64 bits are texts there.
pub fn response_json(outcome: &OtlpOutcome) -> String {
    if outcome.rejected == 0 {
        return "{}".to_owned();
    }
    let partial = serde_json::json!({
        "rejectedDataPoints": outcome.rejected.to_string(),
        "errorMessage": outcome.message,
    });
    serde_json::json!({ "partialSuccess": partial }).to_string()
}
