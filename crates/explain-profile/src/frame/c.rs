//! Flat names: libc, libraries of C, the kernel's entry points.
//!
//! Libraries of C reserve a prefix for their names; libc's names are the ones of the standard and of POSIX with the marks
//! that glibc puts on copies for a processor or for its own use.

use super::Place;

/// Functions of libc that a sampled program spends time in, or waits in.
const LIBC: &str = "\
    abort accept accept4 aligned_alloc bcmp brk calloc cfree clock_gettime clock_nanosleep clone clone3 close \
    closelog connect crypt dl_iterate_phdr dup epoll_pwait epoll_wait epoll_ctl eventfd_write execve exit fclose \
    fdatasync fflush fgets fopen fork fprintf fputc fputs fread free fstat fsync ftruncate futex fwrite \
    getaddrinfo gethostbyname getline getpid getrandom gettimeofday gmtime_r iconv ioctl listen localtime \
    localtime_r lseek lstat madvise malloc mktime mmap mprotect mremap msync munmap nanosleep open open64 openat openlog \
    pipe poll posix_memalign ppoll pread pread64 printf puts pwrite pwrite64 pwritev qsort qsort_r rand random \
    read readdir readv realloc recv recvfrom recvmsg regcomp regexec regfree sched_yield select send sendfile \
    sendmsg sendto setsockopt shutdown snprintf socket sprintf stat sync_file_range syscall syslog time timegm \
    tzset usleep vfprintf vsnprintf write writev \
    memccpy memchr memcmp memcpy memmem memmove mempcpy memrchr memset rawmemchr sem_post sem_timedwait sem_wait \
    stpcpy strcasecmp strcat strchr strchrnul strcmp strcpy strcspn strdup strftime strlen strncasecmp strncmp \
    strncpy strndup strnlen strpbrk strptime strrchr strspn strstr strtod strtok strtok_r strtol strtoul strtoull \
    wcslen wmemset ";

/// Beginnings that libc and well-known libraries of C keep for themselves.
const PREFIXES: &str = "\
    __ _IO_ _dl_ _int_ _nl_ _nss_ _start ASN1_ BIO_ BN_ BrotliEncoder BrotliDecoder CRYPTO_ EC_ ECDSA_ EVP_ HMAC_ \
    LZ4_ MD5_ OPENSSL_ PEM_ RSA_ SHA1_ SHA256_ SHA512_ SSL_ TLS_ X509_ XML_ XXH ZSTD_ adler32 aesni_ aes_ ares_ \
    bn_ chacha20_ compress_block crc32 curl_ curlx_ deflate ecp_nistz event_base_ gcm_ gnutls_ inflate je_ \
    longest_match mi_ mpn_ ossl_ pcre2_ pcre_ poly1305_ pthread_ re_search sha1_ sha256_ sha512_ sqlite3 \
    ssl3_ ssl_ sysmalloc tcache_ uv_ x25519 ";

/// What the compiler appends to copies of a function.
const COMPILER: &[&str] = &[".constprop", ".isra", ".part", ".cold", ".llvm", ".lto_priv", ".localalias"];

/// The place of a flat name; `None` when no rule knows it.
pub(super) fn place(name: &str) -> Option<Place> {
    let name = without_suffix(name);
    if name.starts_with("__rust") {
        return Some(Place::library(name));
    }
    if let Some(plain) = canonical(name) {
        return Some(Place::library(plain));
    }
    PREFIXES.split_whitespace().any(|prefix| name.starts_with(prefix)).then(|| Place::library(name))
}

/// glibc's marks off: `__GI___libc_write` is `write`, `__memmove_avx_unaligned_erms` is `memmove`.
fn canonical(name: &str) -> Option<&str> {
    let plain = name.trim_start_matches("__GI_").trim_start_matches('_').trim_start_matches("libc_");
    let plain = plain.strip_suffix("_nocancel").unwrap_or(plain);
    let stem = ["_avx", "_sse", "_evex", "_erms", "_unaligned", "_ssse3", "_generic"]
        .iter()
        .find_map(|mark| plain.split_once(mark).map(|(stem, _)| stem))
        .unwrap_or(plain);
    let known = stem.starts_with("pthread_") || LIBC.split_whitespace().any(|known| known == stem);
    known.then_some(stem)
}

/// A function through which the kernel is entered: what it calls is the kernel's.
pub(super) fn enters_kernel(name: &str) -> bool {
    let entries = [
        "entry_SYSCALL",
        "entry_INT80",
        "do_syscall_64",
        "asm_exc_",
        "asm_sysvec_",
        "asm_common_interrupt",
        "ret_from_fork",
        "el0t_64_",
        "el0_svc",
        "el1h_64_",
        "__x64_sys_",
        "__arm64_sys_",
        "exc_page_fault",
        "invoke_syscall",
    ];
    entries.iter().any(|entry| name.starts_with(entry))
}

/// Whether the dot in a name is the compiler's.
pub(super) fn has_compiler_suffix(name: &str) -> bool {
    COMPILER.iter().any(|suffix| name.contains(suffix))
}

/// The name without what the compiler or the linker appended.
pub(super) fn without_suffix(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match COMPILER.iter().filter_map(|suffix| name.find(suffix)).min() {
        Some(at) if 0 < at => name.get(..at).unwrap_or(name),
        _ => name,
    }
}
