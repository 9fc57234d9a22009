//! Names of Go functions: `path/of/package.(*Type).method`.
//!
//! Source: Go's linker symbol names as `runtime.FuncForPC` gives them; the list of packages is `go list std`.

use super::Place;

/// First elements of paths that are the standard library's with everything below them.
const ROOTS: &str = "\
    archive bufio bytes cmp compress context crypto encoding errors expvar flag fmt hash io iter log maps math \
    mime net os path plugin reflect regexp runtime slices sort strconv strings sync syscall time unicode unsafe ";

/// Packages whose first element is a word that programs use as well: here the whole path counts.
const PACKAGES: &str = "\
    container/heap container/list container/ring database/sql database/sql/driver debug/buildinfo debug/dwarf \
    debug/elf debug/gosym debug/macho debug/pe embed go/ast go/build go/constant go/doc go/format go/parser \
    go/printer go/scanner go/token go/types html html/template image image/color image/color/palette image/draw \
    image/gif image/jpeg image/png index/suffixarray structs testing text/scanner text/tabwriter text/template \
    text/template/parse ";

/// Libraries that the Go project keeps beside the standard library.
const PROJECT: &[&str] = &["golang.org/x/", "google.golang.org/"];

pub(super) fn place(name: &str) -> Place {
    // What the compiler makes for types, whichever type it is.
    for (prefix, rest) in [("type..", "type.."), ("type:.", "type:.")] {
        if let Some(what) = name.strip_prefix(prefix) {
            return Place::library(format!("{rest}{}", what.split('.').next().unwrap_or_default()));
        }
    }
    if name.starts_with("go.") || name.starts_with("go:") {
        return Place::library(name);
    }
    let name = name.strip_suffix(".abi0").or_else(|| name.strip_suffix(".abiinternal")).unwrap_or(name);
    let name = without_type_arguments(name);
    let name = name.strip_prefix("vendor/").unwrap_or(&name);
    let (package, _) = split(name);
    if is_shared(package) { Place::library(without_closures(name)) } else { Place::application() }
}

/// The package's path and the name in it.
fn split(name: &str) -> (&str, &str) {
    // A method's type may hold slashes only in type arguments, which are gone.
    let after_path = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name.get(after_path..).and_then(|last| last.find('.')).map_or(name.len(), |dot| after_path + dot);
    (name.get(..dot).unwrap_or(name), name.get(dot + 1..).unwrap_or_default())
}

fn is_shared(package: &str) -> bool {
    let root = package.split('/').next().unwrap_or(package);
    ROOTS.split_whitespace().any(|known| known == root)
        || PACKAGES.split_whitespace().any(|known| known == package)
        // Nobody but the standard library can have a path that begins so.
        || root == "internal"
        || PROJECT.iter().any(|prefix| package.starts_with(prefix))
}

/// Drops `[…]`, however deep.
fn without_type_arguments(name: &str) -> String {
    let (mut out, mut depth) = (String::with_capacity(name.len()), 0_usize);
    for letter in name.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(letter),
            _ => {}
        }
    }
    out
}

/// Drops what the compiler appends for closures, deferred and started calls and method values.
fn without_closures(name: &str) -> &str {
    let mut name = name.strip_suffix("-fm").unwrap_or(name);
    while let Some((outer, last)) = name.rsplit_once('.') {
        let words = ["func", "gowrap", "deferwrap", "gowrap", "dwrap·"];
        let number = words.iter().find_map(|word| last.strip_prefix(word)).unwrap_or(last);
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            break;
        }
        name = outer;
    }
    name
}
