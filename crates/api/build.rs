//! Lists the files under `assets/` and writes the table that embeds them.
//!
//! A file `x.gz` is the compressed form of `x` beside it and becomes part of its entry. Files whose name begins with a
//! dot stay out. The order is that of the paths, so the same files give the same table.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=assets");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo did not say where the package is")?)
        .join("assets");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not say where to write")?).join("assets.rs");

    let mut files = BTreeMap::new();
    if root.is_dir() {
        collect(&root, "", &mut files)?;
    }
    let mut table = String::from("&[\n");
    for (path, file) in &files {
        if path.strip_suffix(".gz").is_some_and(|plain| files.contains_key(plain)) {
            continue;
        }
        let gzip = match files.get(&format!("{path}.gz")) {
            Some(gzip) => format!("Some(include_bytes!({gzip:?}))"),
            None => "None".to_owned(),
        };
        writeln!(table, "    Asset {{ path: {path:?}, plain: include_bytes!({file:?}), gzip: {gzip} }},")?;
    }
    table.push_str("]\n");
    fs::write(out, table)?;
    Ok(())
}

/// Adds all files under `folder` by their URL path, which begins with a slash.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| io::Error::other("asset names must be UTF-8"))?;
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{prefix}/{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else {
            let file = entry.path();
            files.insert(
                path,
                file.to_str().ok_or_else(|| io::Error::other("the package's path must be UTF-8"))?.to_owned(),
            );
        }
    }
    Ok(())
}
