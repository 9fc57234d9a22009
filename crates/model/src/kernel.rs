//! What the kernel saw of a service's processes around an incident.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, VersionName, explanation::ProfileSide};

/// One version on one side of an incident, all its seconds together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelSeen {
    /// Which side it stands for.
    pub side: ProfileSide,
    /// Which version.
    pub version: VersionName,
    /// Seconds that were measured.
    pub seconds: u32,
    /// 99th percentile of the time that a thread which could run waited for a processor, in microseconds; absent where the
    /// kernel did not tell, or of too few waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_us_p99: Option<u64>,
    /// Processor time of the version's processes, in milliseconds a second.
    pub cpu_ms_per_s: u64,
    /// Processor time of all programs that are not the service's, in milliseconds a second.
    pub others_cpu_ms_per_s: u64,
    /// TCP segments of the whole machine that were sent again, of a million; absent where the kernel did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_again_ppm: Option<u64>,
}

/// One version, second by second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelStrip {
    /// Which version.
    pub version: VersionName,
    /// Ascending, ten minutes at most; seconds without its processes on this machine are absent.
    pub seconds: Vec<KernelSecond>,
}

/// What was seen in about one second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelSecond {
    /// When it ended.
    pub at: Timestamp,
    /// How long it was, in milliseconds.
    pub length_ms: u64,
    /// Processor time of the version's processes, in milliseconds.
    pub cpu_ms: u64,
    /// Processor time of all programs that are not the service's, in milliseconds.
    pub others_cpu_ms: u64,
    /// Waits for a processor and connections; absent while they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<KernelCounted>,
    /// What Go's runtime did; absent where no Go program was watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go: Option<KernelGo>,
}

/// What Go's runtime did to the version's programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelGo {
    /// Collections that marked everything.
    pub gc_cycles: u64,
    /// How often the world was stopped: twice in a collection, and now and then for other reasons.
    pub gc_pauses: u64,
    /// How long together, in microseconds.
    pub gc_pause_us: u64,
}

/// What programs in the kernel counted; what they did not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelCounted {
    /// Waits for a processor.
    #[serde(flatten)]
    pub waits: Option<KernelWaits>,
    /// TCP connections.
    #[serde(flatten)]
    pub connections: Option<KernelConnections>,
}

/// Waits for a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelWaits {
    /// How often a thread waited for a processor.
    pub waits: u64,
    /// 99th percentile of these waits, in microseconds.
    pub wait_us_p99: u64,
}

/// TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelConnections {
    /// Connections begun.
    pub begun: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that were refused or not answered.
    pub failed: u64,
    /// TCP segments sent again.
    pub sent_again: u64,
}
