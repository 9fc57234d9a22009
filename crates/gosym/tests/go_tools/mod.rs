//! Tool chains of Go: the distribution's, and others of which `./dev test` fetches some.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One tool chain.
#[derive(Clone, Debug)]
pub(crate) struct GoTools {
    go: PathBuf,
    /// Such as `go1.19.8`.
    pub(crate) version: String,
}

/// All that are here: `go`, and those in the folders of `HOMEOSTAT_GO_TOOLCHAINS` (separated by colons), else in
/// `target/tools/go-*`. Says aloud what is missing.
pub(crate) fn all() -> Vec<GoTools> {
    let mut found: Vec<_> = distributions().into_iter().collect();
    let others: Vec<_> = folders().into_iter().filter_map(|folder| GoTools::at(folder.join("bin/go"))).collect();
    if others.is_empty() {
        println!("SKIPPED: programs of newer versions of Go: `./dev test` fetches them into target/tools");
    }
    found.extend(others);
    found
}

/// The distribution's.
pub(crate) fn distributions() -> Option<GoTools> {
    let found = GoTools::at("go".into());
    if found.is_none() {
        println!("SKIPPED: programs of the distribution's Go: there is no `go` (package golang-go)");
    }
    found
}

fn folders() -> Vec<PathBuf> {
    if let Some(folders) = env::var_os("HOMEOSTAT_GO_TOOLCHAINS") {
        return env::split_paths(&folders).collect();
    }
    let tools = workspace().join("target/tools");
    let mut found: Vec<_> = fs::read_dir(tools).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("go-")));
    found.sort();
    found
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl GoTools {
    fn at(go: PathBuf) -> Option<Self> {
        let mut tools = Self { go, version: String::new() };
        let said = tools.command().args(["env", "GOVERSION"]).output().ok().filter(|said| said.status.success())?;
        String::from_utf8_lossy(&said.stdout).trim().clone_into(&mut tools.version);
        Some(tools)
    }

    /// The second number of its version.
    pub(crate) fn minor(&self) -> u32 {
        let minor = self.version.trim_start_matches("go1.").split('.').next();
        minor.and_then(|minor| minor.parse().ok()).unwrap_or_else(|| panic!("what version is {}?", self.version))
    }

    /// Text of a file of its own sources.
    pub(crate) fn source(&self, path: &str) -> String {
        let root = self.command().args(["env", "GOROOT"]).output().unwrap();
        let file = Path::new(String::from_utf8_lossy(&root.stdout).trim()).join("src").join(path);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Builds `tests/programs/NAME` of the crate whose test this is. Nothing is fetched; what was compiled is kept for the
    /// next one.
    pub(crate) fn build(&self, name: &str, dir: &Path, options: &[&str]) -> PathBuf {
        let program = dir.join(name);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
        let cache = workspace().join("target/go-cache").join(&self.version);
        fs::create_dir_all(&cache).unwrap();
        // Tests that begin together would each compile the standard library.
        let lock = fs::File::create(cache.join("lock")).unwrap();
        lock.lock().unwrap();
        let mut build = self.command();
        build.args(["build", "-o"]).arg(&program).args(options).current_dir(source).env("GOCACHE", &cache);
        let built = build.output().unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{} build {options:?}: {said}", self.version);
        program
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.go);
        // Exactly this one, whatever a module asks for, and the same program wherever a compiler for C is.
        command.envs([("GOTOOLCHAIN", "local"), ("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("CGO_ENABLED", "0")]);
        command.env("GO111MODULE", "on").env_remove("GOROOT");
        command
    }
}
