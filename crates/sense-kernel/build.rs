//! Compiles the programs that run in the kernel, when the feature `bpf` is on. Without it there is nothing to do, and neither
//! clang nor libelf is needed.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// One object a concern, so that a kernel that refuses one still takes the others.
const PROGRAMS: [&str; 6] = ["calls", "cpu", "go_runtime", "off_cpu", "run_queue", "tcp"];

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=src/bpf");
    if variable("CARGO_FEATURE_BPF").is_none() {
        return ExitCode::SUCCESS;
    }
    match PROGRAMS.iter().try_for_each(|name| compile(name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("cargo:error={problem}");
            ExitCode::FAILURE
        }
    }
}

fn compile(name: &str) -> Result<(), String> {
    let source = Path::new("src/bpf").join(format!("{name}.bpf.c"));
    let object = PathBuf::from(variable("OUT_DIR").unwrap_or_default()).join(format!("{name}.bpf.o"));
    let machine = variable("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let define = if machine == "aarch64" { "-D__TARGET_ARCH_arm64" } else { "-D__TARGET_ARCH_x86" };
    let headers = variable("DEP_BPF_INCLUDE").unwrap_or_default();
    // `-g` makes the type information with which fields are found in the running kernel.
    let compiled = Command::new("clang")
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", define, "-I"])
        .arg(headers)
        .arg("-c")
        .args([source.as_os_str(), "-o".as_ref(), object.as_os_str()])
        .output()
        .map_err(|error| {
            format!("the feature `bpf` needs clang ({error}): apt-get install clang libelf-dev zlib1g-dev")
        })?;
    if compiled.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&compiled.stderr).replace('\n', " | ");
    Err(format!("clang cannot compile {}: {said}", source.display()))
}

#[expect(clippy::disallowed_methods, reason = "it is how cargo speaks to a build script")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
