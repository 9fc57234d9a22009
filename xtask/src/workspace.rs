//! What cargo knows about the workspace: its packages, their kinds and their dependencies.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

/// The packages of this workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// Where its `Cargo.toml` lies.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Members only.
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default, deserialize_with = "or_default")]
    metadata: Metadata,
}

/// One entry of a dependency table.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    room: Option<Room>,
}

#[derive(Debug, Deserialize)]
struct Room {
    kind: String,
}

impl Workspace {
    /// Asks `cargo metadata`, without the packages of others.
    pub(crate) fn read(at: &Path) -> Result<Self, String> {
        let output = cargo(at, &["metadata", "--format-version", "1", "--no-deps"])?;
        serde_json::from_str(&output)
            .map_err(|error| format!("`cargo metadata` answered something unexpected: {error}"))
    }
}

impl Package {
    /// The word under `[package.metadata.room]`, if there is one.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.metadata.room.as_ref().map(|room| room.kind.as_str())
    }

    /// The package's directory.
    pub(crate) fn dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

/// Runs the cargo that runs us, and returns what it prints.
pub(crate) fn cargo(at: &Path, arguments: &[&str]) -> Result<String, String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(at)
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`cargo {}` failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)))
    }
}

/// `package.metadata` is null for packages without one.
fn or_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
