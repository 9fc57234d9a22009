//! Names of Rust functions, demangled: `<crate::Type<T> as crate::Trait>::method::{{closure}}`.
//!
//! Sources: RFC 2603 (symbol name mangling v0); `rustc-demangle` for the readable form.

use super::Place;

/// Crates that many programs share: the tool chain's, and those of the ecosystem that stand for what they do. One that is
/// missing here costs a little evidence, a program's own crate here would be wrong.
const SHARED: &str = "\
    addr2line ahash aho_corasick alloc anyhow arc_swap async_std axum axum_core backtrace base64 bincode blake3 \
    brotli bytes chrono core crc32fast crossbeam crossbeam_channel crossbeam_deque crossbeam_epoch crossbeam_utils \
    csv dashmap env_logger flate2 flume foldhash futures futures_channel futures_core futures_executor \
    futures_util getrandom gimli h2 hashbrown hmac http http_body http_body_util httparse hyper hyper_rustls \
    hyper_util indexmap itoa jiff libc lock_api log lz4_flex md5 memchr miniz_oxide mio mysql native_tls nix \
    num_bigint once_cell openssl parking_lot parking_lot_core postgres proc_macro prost rand rand_chacha rand_core \
    rayon rayon_core redis regex regex_automata regex_syntax reqwest ring rustix rustls ryu serde serde_core \
    serde_json sha1 sha2 smallvec socket2 std time tokio tokio_rustls tokio_util tonic tower \
    tower_http tower_service tracing tracing_core tracing_subscriber ureq url uuid webpki tungstenite zlib_rs zmij \
    zstd zstd_safe ";

pub(super) fn place(name: &str) -> Place {
    let (subject, rest) = subject(name);
    let subject = without_type_arguments(subject);
    let rest = without_type_arguments(rest);
    let path = format!("{subject}{rest}");
    let krate = path.split("::").next().unwrap_or_default();
    if SHARED.split_whitespace().any(|known| known == krate) || krate.starts_with("__rust") {
        Place::library(without_closures(&path))
    } else {
        Place::application()
    }
}

/// Splits a name into the path of who does it and what is done: for `<A as B>::f` that is `A` when it is a path of a crate,
/// and `B` when `A` is a type parameter or a type of the language.
fn subject(name: &str) -> (&str, &str) {
    let Some(inner) = name.strip_prefix('<') else { return (name, "") };
    let Some(end) = closing(inner) else { return (inner, "") };
    let (qualified, rest) = (inner.get(..end).unwrap_or_default(), inner.get(end + 1..).unwrap_or_default());
    let (of, does) = split_as(qualified);
    let of = bare(of);
    // A type of the language or a parameter has no path; the trait says then whose code it is.
    match does {
        Some(does) if !of.contains("::") => (bare(does), rest),
        _ => (of, rest),
    }
}

/// Where the bracket that opened before the text closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut before) = (1_usize, ' ');
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            // The arrow of a function type closes nothing.
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        before = letter;
    }
    None
}

/// `A as B`, outside of brackets.
fn split_as(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => {
                if let Some(does) = text.get(at..).and_then(|rest| rest.strip_prefix(" as ")) {
                    return (text.get(..at).unwrap_or(text), Some(does));
                }
            }
            _ => {}
        }
    }
    (text, None)
}

/// A type without references, brackets and `dyn`, up to where its bounds begin.
fn bare(mut text: &str) -> &str {
    loop {
        let next = ["&", "*const ", "*mut ", "mut ", "dyn ", "(", "[", "<", "impl ", "'_ "]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix));
        match next {
            Some(shorter) => text = shorter,
            None => break,
        }
    }
    let end = text.find([' ', ',', ')', ']', ';']).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// Drops `<…>` and `::<…>`, however deep.
fn without_type_arguments(path: &str) -> String {
    let (mut out, mut depth, mut before) = (String::with_capacity(path.len()), 0_usize, ' ');
    for letter in path.chars() {
        match letter {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(letter),
            _ => {}
        }
        before = letter;
    }
    out.replace("::::", "::")
}

/// Drops closures and shims, and a hash that stayed.
fn without_closures(path: &str) -> String {
    let kept = path.split("::").filter(|part| {
        let hash =
            part.len() == 17 && part.starts_with('h') && part.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit());
        !part.is_empty()
            && !part.starts_with("{{")
            && !part.starts_with("{closure")
            && !part.starts_with("{shim")
            && !hash
    });
    kept.collect::<Vec<_>>().join("::")
}
