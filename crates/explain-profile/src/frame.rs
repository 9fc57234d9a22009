//! Whose code a frame is, from the grammar of its name.
//!
//! What one program teaches about another one lies in the frames that both have: the standard library, the runtime, libc,
//! well-known libraries, the kernel. Everything else is the application's own and becomes one name, [`APPLICATION`]. The
//! grammar of a symbol says which language made it and which package or crate it stands in:
//!
//! ```text
//! Go      path/of/package.(*Type).method.func1   the package is the path up to the first dot after the last slash
//! Rust    <crate::Type<T> as crate::Trait>::f    legacy (_ZN…E) and v0 (_R…) names are demangled first
//! C       flat names; libraries by the prefixes that they reserve for themselves
//! kernel  flat names below an entry point (entry_SYSCALL_64…), which only the stack can tell
//! ```
//!
//! Not here: what a frame is busy with (`concept`).
//! Invariant: no rule names a program; a name that no rule knows is the application's.

use std::borrow::Cow;

mod c;
mod go;
mod rust;

/// What all frames of the application are called.
pub(crate) const APPLICATION: &str = "<app>";

/// Longest name that is taken apart; beyond, a frame counts as the application's. Generic Rust names reach some kilobytes.
const NAME_BYTES_MAX: usize = 16 * 1024;

/// Whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Of this program alone.
    Application,
    /// A language's runtime or standard library, libc, or a library that many programs share.
    Library,
    /// The kernel's.
    Kernel,
}

/// A frame as it can be compared between programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Whose.
    pub(crate) origin: Origin,
    /// The name without what differs from build to build (closures' numbers, hashes, type arguments); [`APPLICATION`] for
    /// the application's.
    pub(crate) name: String,
}

impl Place {
    fn application() -> Self {
        Self { origin: Origin::Application, name: APPLICATION.to_owned() }
    }

    fn library(name: impl Into<String>) -> Self {
        Self { origin: Origin::Library, name: name.into() }
    }

    fn kernel(name: impl Into<String>) -> Self {
        Self { origin: Origin::Kernel, name: name.into() }
    }
}

/// Places a frame by its function's name and by its module (both may be empty). `in_kernel` says that a frame further out is
/// the kernel's.
pub(crate) fn place(function: &str, module: &str, in_kernel: bool) -> Place {
    let module = module.rsplit('/').next().unwrap_or_default();
    if function.is_empty() || NAME_BYTES_MAX < function.len() {
        return by_module(module);
    }
    // Profilers mark the kernel's frames in several ways.
    let (function, marked) = match function.strip_suffix("_[k]").or_else(|| function.strip_prefix("[kernel] ")) {
        Some(rest) => (rest, true),
        None => (function, false),
    };
    if in_kernel || marked || module.starts_with("[kernel") || module == "vmlinux" || c::enters_kernel(function) {
        return Place::kernel(c::without_suffix(function));
    }
    match demangled(function) {
        Some(Spelling::Rust(name)) => rust::place(&name),
        Some(Spelling::Go) => go::place(function),
        None => c::place(function).unwrap_or_else(|| by_module(module)),
    }
}

/// How a name is spelt; `None` for flat names.
enum Spelling<'a> {
    Rust(Cow<'a, str>),
    Go,
}

fn demangled(name: &str) -> Option<Spelling<'_>> {
    if (name.starts_with("_ZN") || name.starts_with("_R") || name.starts_with("__ZN"))
        && let Ok(readable) = rustc_demangle::try_demangle(name)
    {
        return Some(Spelling::Rust(Cow::Owned(format!("{readable:#}"))));
    }
    // Go writes package paths with slashes and dots, Rust and C++ paths with colons. A slash before any colon is Go's, for
    // type arguments of Go may hold anything.
    let outside = name.split(['[', '(']).next().unwrap_or(name);
    if outside.contains("::") || name.starts_with('<') {
        return Some(Spelling::Rust(Cow::Borrowed(name)));
    }
    let go = name.contains('.') && !outside.starts_with('.') && !c::has_compiler_suffix(name);
    go.then_some(Spelling::Go)
}

/// Frames without a name: shared libraries are nobody's own, the program's executable is.
fn by_module(module: &str) -> Place {
    let library = module.contains(".so") || module == "[vdso]";
    let stem = module.split(".so").next().unwrap_or(module);
    if library { Place::library(format!("{stem}+?")) } else { Place::application() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &[(&str, &str)]) {
        for (name, wanted) in cases {
            let found = place(name, "", false);
            assert_eq!(found.name, *wanted, "{name}");
            assert_eq!(found.origin == Origin::Application, *wanted == APPLICATION, "{name}");
        }
    }

    #[test]
    fn go_names() {
        check(&[
            ("runtime.mallocgc", "runtime.mallocgc"),
            ("encoding/json.(*encodeState).marshal", "encoding/json.(*encodeState).marshal"),
            ("net/http.(*conn).serve.func1", "net/http.(*conn).serve"),
            ("net/http.HandlerFunc.ServeHTTP", "net/http.HandlerFunc.ServeHTTP"),
            ("sync.(*Mutex).lockSlow", "sync.(*Mutex).lockSlow"),
            ("internal/poll.(*FD).Write", "internal/poll.(*FD).Write"),
            ("vendor/golang.org/x/net/dns/dnsmessage.NewName", "golang.org/x/net/dns/dnsmessage.NewName"),
            ("golang.org/x/crypto/bcrypt.bcrypt", "golang.org/x/crypto/bcrypt.bcrypt"),
            ("slices.pdqsortCmpFunc[go.shape.struct { a/b.C int }]", "slices.pdqsortCmpFunc"),
            ("sync/atomic.(*Pointer[go.shape.int]).Load", "sync/atomic.(*Pointer).Load"),
            ("type..eq.main.key", "type..eq"),
            ("type:.hash.main.key", "type:.hash"),
            ("sort.Slice.func1-fm", "sort.Slice"),
            ("os.(*File).Sync", "os.(*File).Sync"),
            ("main.handle", APPLICATION),
            ("main.(*server).handle.func2.1", APPLICATION),
            ("github.com/some/thing.Do", APPLICATION),
            ("index/store.Add", APPLICATION),
            ("shop/internal/cart.(*Cart).Add", APPLICATION),
            ("cart.Add", APPLICATION),
        ]);
    }

    #[test]
    fn rust_names() {
        check(&[
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            (
                "_ZN67_$LT$alloc..vec..Vec$LT$T$C$A$GT$$u20$as$u20$core..clone..Clone$GT$5clone17h0123456789abcdefE",
                "alloc::vec::Vec::clone",
            ),
            ("alloc::vec::Vec<app::Item>::push", "alloc::vec::Vec::push"),
            ("<alloc::vec::Vec<app::Item>>::push", "alloc::vec::Vec::push"),
            ("<app::Item as core::clone::Clone>::clone", APPLICATION),
            ("<T as alloc::string::ToString>::to_string", "alloc::string::ToString::to_string"),
            ("<&mut std::io::Cursor<app::B> as std::io::Write>::write_all", "std::io::Cursor::write_all"),
            ("core::ptr::drop_in_place<alloc::vec::Vec<app::Item>>", "core::ptr::drop_in_place"),
            (
                "std::sys::sync::mutex::futex::Mutex::lock_contended",
                "std::sys::sync::mutex::futex::Mutex::lock_contended",
            ),
            ("regex_automata::meta::regex::Regex::search_half", "regex_automata::meta::regex::Regex::search_half"),
            ("tokio::runtime::task::raw::poll::{{closure}}", "tokio::runtime::task::raw::poll"),
            (
                "std::thread::Builder::spawn_unchecked_::{{closure}}::{{closure}}",
                "std::thread::Builder::spawn_unchecked_",
            ),
            ("app::handler::work::{{closure}}", APPLICATION),
            ("<app::Handler as tower::Service<R>>::call", APPLICATION),
            ("<[u8] as core::hash::Hash>::hash", "core::hash::Hash::hash"),
            ("<(dyn core::ops::Fn<(A,)> + Send) as app::Route>::run", "core::ops::Fn::run"),
            ("__rust_alloc", "__rust_alloc"),
        ]);
    }

    #[test]
    fn flat_names() {
        check(&[
            ("malloc", "malloc"),
            ("__memmove_avx_unaligned_erms", "memmove"),
            ("__GI___pthread_mutex_lock", "pthread_mutex_lock"),
            ("fdatasync", "fdatasync"),
            ("_IO_new_file_xsputn", "_IO_new_file_xsputn"),
            ("SSL_do_handshake", "SSL_do_handshake"),
            ("pcre2_match_8", "pcre2_match_8"),
            ("deflate_fast.constprop.0", "deflate_fast"),
            ("handle_request", APPLICATION),
            ("handle_request.isra.0", APPLICATION),
            ("", APPLICATION),
        ]);
        assert_eq!(place("entry_SYSCALL_64_after_hwframe", "", false).origin, Origin::Kernel);
        assert_eq!(place("vfs_write", "", true), Place::kernel("vfs_write"));
        assert_eq!(place("vfs_write", "[kernel.kallsyms]", false), Place::kernel("vfs_write"));
        assert_eq!(place("ksys_write_[k]", "", false), Place::kernel("ksys_write"));
        assert_eq!(place("", "/usr/lib/libssl.so.3", false), Place::library("libssl+?"));
    }

    #[test]
    fn hostile_names_are_somebodys() {
        for name in
            ["<", "<<<<", "::", "a::", "<a as", "[", ".", "/.", "a/", "_ZN", "_R", "(*", "<>::", "{{closure}}", "é.ü"]
        {
            let _ = place(name, "", false);
        }
        assert_eq!(place(&"<".repeat(NAME_BYTES_MAX + 1), "", false), Place::application());
    }
}
