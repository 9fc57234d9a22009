//! What a frame is busy with, in words that mean the same in every language.
//!
//! `sync.(*Mutex).lockSlow`, `…::futex::Mutex::lock_contended` and `__lll_lock_wait` are three names of one thing. A concept
//! gathers such names by patterns, so that what was learnt from a Go program holds for one in Rust or C, and so that a
//! person can read what a detector looks at.
//!
//! Patterns match the names that `frame` gives: `*` stands for any text, everything else for itself. A frame may have
//! several concepts (a compiled expression is a regular expression as well).
//!
//! Source: the standard libraries of Go 1.19 to 1.27 and of Rust 1.70 to 1.95, glibc 2.36, Linux 6.x.

use serde::{Deserialize, Serialize};

macro_rules! concepts {
    ($($(#[$doc:meta])* $name:ident = $text:literal : $globs:expr;)*) => {
        /// What code does, whoever wrote it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Concept { $($(#[$doc])* $name,)* }

        impl Concept {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name for people and for keys.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Patterns of names, separated by white space.
            const fn globs(self) -> &'static str {
                match self { $(Self::$name => $globs,)* }
            }
        }
    };
}

concepts! {
    /// A handler of a server's request.
    Server = "server": "net/http.(*conn).serve net/http.serverHandler.ServeHTTP net/rpc.(*Server)* net/http/httputil.(*ReverseProxy)*
        hyper::server::* hyper::proto::h?::dispatch* axum::* tonic::transport::server* tower_http::*
        google.golang.org/grpc.(*Server)*";
    /// A round trip to another process, seen from the caller.
    Client = "client": "net/http.(*Client)* net/http.(*Transport)* net/http.(*persistConn)* net/http.Get net/http.Post* net/http.send
        net/rpc.(*Client)* net/smtp.* database/sql.* google.golang.org/grpc.(*ClientConn)* net/textproto.(*Pipeline)*
        hyper::client::* hyper_util::client::* reqwest::* ureq::* redis::* postgres::* mysql::* curl_* tonic::client*";
    /// Opening a connection.
    Connect = "connect": "net.(*Dialer)* net.(*sysDialer)* net.Dial* net.(*netFD).connect net.(*netFD).dial net.socket net.internetSocket net.sysSocket
        syscall.Connect syscall.connect syscall.Socket syscall.socket internal/poll.(*FD).Connect
        std::net::tcp::TcpStream::connect* std::sys*::net::*TcpStream::connect* std::sys*Socket::connect* std::sys*Socket::new*
        tokio::net::tcp::stream::TcpStream::connect* mio::net::tcp::stream::TcpStream::connect* hyper*::connect::http::*
        socket2::socket::Socket::connect* socket2::socket::Socket::new* connect socket *_sys_connect tcp_v?_connect inet_stream_connect __inet_stream_connect
        __sys_connect __sys_socket sock_create* inet_create";
    /// Taking a connection that somebody opened, and what comes with each of them.
    Accept = "accept": "net.(*netFD).accept net.(*TCPListener)* net.accept internal/poll.accept internal/poll.(*FD).Accept syscall.Accept* net.newTCPConn
        net/http.(*Server).newConn net/http.newBufio* net.setKeepAlive* net.setNoDelay net.(*TCPConn).SetKeepAlive*
        std::net::tcp::TcpListener::accept* std::sys*Socket::accept* tokio::net::tcp::listener::* mio::net::tcp::listener::*
        accept accept4 *_sys_accept* inet_csk_accept do_accept";
    /// Ending a connection.
    Disconnect = "disconnect": "net.(*conn).Close net.(*netFD).Close net.(*netFD).destroy internal/poll.(*FD).Close internal/poll.(*FD).destroy internal/poll.(*FD).decref
        syscall.Close syscall.close net/http.(*conn).close* net/http.(*conn).finalFlush net/http.(*persistConn).close* net/http.(*persistConn).cancel*
        close tcp_close* inet_release sock_close __sock_release tcp_fin __tcp_close inet_csk_destroy_sock";
    /// Setting up encryption for a connection.
    TlsHandshake = "tls_handshake": "crypto/tls.(*Conn).*andshake* crypto/tls.*andshakeState* crypto/tls.*KeyAgreement* crypto/x509.* crypto/tls.(*Config)*
        crypto/tls.*ertificate* crypto/rsa.* crypto/ecdsa.* crypto/elliptic.* crypto/ed25519.* crypto/ecdh.* crypto/internal/nistec* crypto/internal/edwards*
        crypto/internal/bigmod* rustls::client::hs* rustls::server::hs* rustls::client::tls1?* rustls::server::tls1?* rustls::conn::*andshake* rustls::webpki* webpki::*
        ring::ec::* ring::rsa::* ring::signature* ring::agreement* SSL_do_handshake SSL_accept SSL_connect ssl3_accept ssl3_connect state_machine*
        gnutls_handshake RSA_* EC_* ECDSA_* x25519* ecp_nistz* bn_mul* ossl_ec* ossl_rsa*";
    /// Waiting for or fighting over a lock.
    Lock = "lock": "sync.(*Mutex).lockSlow sync.(*Mutex).unlockSlow sync.(*RWMutex).* sync.runtime_Semacquire* sync.runtime_Semrelease sync.runtime_doSpin sync.runtime_canSpin
        runtime.semacquire1 runtime.semrelease1 runtime.semasleep runtime.(*semaRoot)* runtime.sync_runtime_doSpin internal/sync.(*Mutex).lockSlow internal/sync.(*Mutex).unlockSlow
        *::Mutex::lock_contended *::Mutex::spin *::RwLock::read_contended *::RwLock::write_contended *::RwLock::wake_writer_or_readers parking_lot::*_slow* parking_lot_core::*
        *::Mutex::wake std::sys*::futex::futex_wait std::sys*::futex::futex_wake
        pthread_mutex_lock pthread_mutex_unlock pthread_rwlock_* pthread_spin_lock lll_lock_wait* __lll_lock* __lll_* sem_wait
        futex futex_wait* futex_wake* do_futex *_sys_futex native_queued_spin_lock_slowpath rwsem_down_* __mutex_lock* osq_lock mutex_spin_on_owner";
    /// The scheduler at work: parking, waking and finding what to run.
    Schedule = "schedule": "runtime.schedule runtime.findrunnable runtime.findRunnable runtime.park_m runtime.mcall runtime.stealWork runtime.runqsteal runtime.runqgrab
        runtime.ready runtime.goready* runtime.wakep runtime.startm runtime.stopm runtime.notewakeup runtime.notesleep runtime.futexwakeup runtime.futexsleep
        runtime.resetspinning runtime.netpoll runtime.netpollBreak runtime.goschedImpl runtime.gopreempt_m
        tokio::runtime::scheduler::* tokio::runtime::park* tokio::runtime::task::* std::thread::park* schedule __schedule pick_next_task* try_to_wake_up
        finish_task_switch* schedule_timeout* do_nanosleep";
    /// Giving the processor away or turning in a circle.
    Spin = "spin": "runtime.Gosched runtime.gosched_m runtime.goschedImpl runtime.procyield runtime.osyield runtime.usleep std::thread::yield_now std::thread::functions::yield_now
        core::hint::spin_loop sched_yield *_sys_sched_yield do_sched_yield std::hint::spin_loop crossbeam_utils::backoff*";
    /// Starting goroutines or threads.
    Spawn = "spawn": "runtime.newproc* runtime.malg runtime.gfget runtime.gfput runtime.goexit0 runtime.gdestroy runtime.stackalloc runtime.stackfree runtime.allgadd std::thread::Builder::* std::thread::spawn* std::thread::lifecycle*
        std::thread::functions::spawn* std::sys*::thread::Thread::new tokio::runtime::blocking::pool::* tokio::task::spawn* pthread_create clone clone3 __clone* kernel_clone copy_process *_sys_clone*
        do_exit start_thread";
    /// The garbage collector.
    Gc = "gc": "runtime.gc* runtime.bgsweep runtime.bgscavenge runtime.scanobject* runtime.scanblock runtime.scanstack runtime.scanframeworker runtime.greyobject runtime.markroot*
        runtime.sweepone runtime.(*sweepLocked)* runtime.(*mspan).sweep runtime.wbBufFlush* runtime.(*gcWork)* runtime.(*gcControllerState)* runtime.findObject runtime.heapBitsSetType
        runtime.stopTheWorld* runtime.startTheWorld* runtime.scang runtime.tryDeferToSpanScan runtime.spanOf* runtime.(*gcBits*";
    /// Work of the collector that allocating code is made to do itself.
    GcAssist = "gc_assist": "runtime.gcAssistAlloc* runtime.gcParkAssist runtime.deductAssistCredit";
    /// Taking and giving back memory.
    Allocate = "allocate": "runtime.mallocgc* runtime.newobject runtime.newarray runtime.makeslice* runtime.growslice runtime.rawstring* runtime.rawbyteslice runtime.slicebytetostring
        runtime.stringtoslicebyte runtime.concatstring* runtime.(*mcache)* runtime.(*mcentral)* runtime.(*mheap)* runtime.nextFreeFast runtime.makemap* runtime.convT*
        alloc::alloc::* alloc::raw_vec::* __rust_alloc* __rust_realloc __rust_dealloc __rdl_* __rg_* std::sys*::alloc::* malloc calloc realloc free cfree _int_malloc _int_free* _int_realloc
        posix_memalign aligned_alloc sysmalloc* malloc_consolidate unlink_chunk* tcache_* mi_* je_* systrim*";
    /// The kernel giving memory to the process.
    MapMemory = "map_memory": "runtime.sysAlloc runtime.sysMap runtime.sysUsed* runtime.sysUnused* runtime.sysHugePage* runtime.madvise runtime.mmap mmap munmap madvise brk mremap *_sys_mmap *_sys_munmap *_sys_madvise *_sys_brk
        asm_exc_page_fault exc_page_fault do_user_addr_fault handle_mm_fault do_anonymous_page clear_page* __alloc_pages* unmap_* zap_* free_unref_page*";
    /// Writing to hash maps and trees.
    MapWrite = "map_write": "runtime.mapassign* runtime.mapdelete* runtime.mapclear internal/runtime/maps.(*Map).*ut* internal/runtime/maps.*ssign* sync.(*Map).Store sync.(*Map).LoadOrStore
        hashbrown::map::HashMap::insert hashbrown::raw::*insert* std::collections::hash::map::HashMap::insert alloc::collections::btree::map::*insert* alloc::collections::btree::node::*insert* hashbrown::*entry*";
    /// Hash maps that become larger.
    MapGrow = "map_grow": "runtime.hashGrow runtime.growWork* runtime.evacuate* runtime.newoverflow runtime.(*hmap).newoverflow runtime.makeBucketArray internal/runtime/maps.(*table).rehash internal/runtime/maps.(*table).grow
        internal/runtime/maps.(*table).split internal/runtime/maps.(*Map).growTo* *reserve_rehash* hashbrown::raw::*resize* hashbrown::raw::*prepare_rehash* hashbrown::raw::*rehash_in_place*";
    /// Reading hash maps.
    MapRead = "map_read": "runtime.mapaccess* runtime.mapiter* internal/runtime/maps.(*Map).get* internal/runtime/maps.(*Iter)* hashbrown::map::HashMap::get* hashbrown::raw::*find* hashbrown::raw::*get*
        std::collections::hash::map::HashMap::get* alloc::collections::btree::map::*get* alloc::collections::btree::search::*";
    /// Computing hashes for maps.
    HashKey = "hash_key": "runtime.strhash* runtime.memhash* runtime.aeshash* aeshashbody runtime.nilinterhash runtime.interhash runtime.typehash core::hash::* std::hash::* std::collections::hash::map::*Hasher* ahash::* foldhash::* hash/maphash.*";
    /// Regular expressions.
    Regex = "regex": "regexp.* regexp/syntax.* regex::* regex_automata::* regex_syntax::* aho_corasick::* pcre2_* pcre_* regexec regcomp re_search* onig_*";
    /// Making regular expressions ready, which is dear and belongs outside of requests.
    RegexCompile = "regex_compile": "regexp.compile regexp.Compile* regexp.MustCompile* regexp.onepass* regexp/syntax.* regex_syntax::* regex::builders::* regex::regex::string::Regex::new regex_automata::*uilder* regex_automata::*ompiler* regex_automata::nfa::thompson::compiler* regex_automata::meta::strategy::new
        regcomp pcre2_compile* pcre_compile* onig_new";
    /// Looking at types at run time.
    Reflect = "reflect": "reflect.* internal/reflectlite.* runtime.typedmemmove runtime.resolveNameOff runtime.resolveTypeOff runtime.typesEqual runtime.getitab runtime.assertE2I* bevy_reflect::*";
    /// Turning values into bytes and back.
    Serialise = "serialise": "encoding/json.* encoding/xml.* encoding/gob.* encoding/binary.* encoding/csv.* encoding/asn1.* encoding.* serde::* serde_core::* serde_json::* bincode::* rmp_serde::* ciborium::* google.golang.org/protobuf* prost::* csv::*";
    /// Formatting text.
    Format = "format": "fmt.* strconv.* core::fmt::* alloc::fmt::* itoa::* ryu::* zmij::* printf fprintf sprintf snprintf vfprintf vsnprintf __vfprintf_internal __vsnprintf_internal _itoa_word printf_positional";
    /// Keeping a log.
    Log = "log": "log.* log/slog* log/syslog.* internal/log* log::* tracing::* tracing_core::* tracing_subscriber::* env_logger::* syslog __vsyslog* vsyslog openlog std::io::stdio::_eprint* std::io::stdio::_print*";
    /// Writing to files, pipes and terminals.
    WriteFile = "write_file": "os.(*File).Write* os.(*File).write* os.(*File).pwrite os.WriteFile std::io::stdio::* std::io::buffered::linewriter* std::fs::File::write* std::fs::write* std::sys*::stdio::* std::sys*::fs::File::write* tokio::fs::*
        pwrite64 pwrite pwritev fwrite fputs puts fflush _IO_new_file_write _IO_new_file_xsputn _IO_file_* new_do_write ext4_*write* xfs_file_*write* btrfs_*write* generic_perform_write generic_file_write* iomap_file_buffered_write tty_write pipe_write overlayfs_write* ovl_write*";
    /// Reading from files.
    ReadFile = "read_file": "os.(*File).Read* os.(*File).read* os.ReadFile std::fs::File::read* std::fs::read* std::sys*::fs::File::read* fread fgets getline _IO_new_file_underflow pread64 pread generic_file_read* filemap_read ext4_file_read* xfs_file_read* pipe_read ";
    /// Opening, finding and naming files.
    OpenFile = "open_file": "os.OpenFile os.Open os.Create os.openFile* os.Stat os.Lstat os.Rename os.Remove* os.ReadDir os.MkdirAll os.CreateTemp std::fs::OpenOptions::* std::fs::File::open* std::fs::File::create* std::fs::rename std::fs::metadata std::sys*::fs::File::open* std::sys*::fs::stat*
        open open64 openat stat fstat lstat fopen do_sys_open* do_sys_openat* path_openat *_sys_newfstatat *_sys_openat";
    /// Making a device keep what was written.
    Sync = "sync": "os.(*File).Sync syscall.Fsync syscall.Fdatasync syscall.fsync syscall.fdatasync syscall.SyncFileRange internal/poll.(*FD).Fsync* golang.org/x/sys/unix.Fdatasync golang.org/x/sys/unix.Fsync go.etcd.io/etcd/*fileutil.F*ync std::fs::File::sync_* std::sys*::fs::File::fsync std::sys*::fs::File::datasync std::sys*::File::sync* nix::unistd::fsync rustix::fs::*sync
        fsync fdatasync msync sync_file_range do_fsync vfs_fsync* ext4_sync_file ext4_fsync* xfs_file_fsync btrfs_sync_file *_sys_fsync *_sys_fdatasync *_sys_msync blkdev_issue_flush jbd2_* file_write_and_wait_range __filemap_fdatawait* folio_wait_writeback ovl_fsync fuse_fsync*";
    /// Bytes through sockets.
    SocketIo = "socket_io": "net.(*conn).Read net.(*conn).Write net.(*netFD).Read net.(*netFD).Write net.(*Buffers)* net.(*TCPConn).* std::net::tcp::TcpStream::read* std::net::tcp::TcpStream::write* std::sys*Socket::* tokio::net::tcp::stream::* mio::net::* send sendto sendmsg recv recvfrom recvmsg *_sys_send* *_sys_recv*
        tcp_sendmsg* tcp_recvmsg* sock_sendmsg sock_recvmsg sock_write_iter sock_read_iter __tcp_push* tcp_write_xmit ip_queue_xmit __ip_queue_xmit net_rx_action";
    /// Looking up names of hosts.
    Dns = "dns": "net.(*Resolver)* net.lookup* net.goLookup* net.cgoLookup* net.(*dnsConfig)* net.dns* net.dial*DNS* golang.org/x/net/dns* getaddrinfo gethostbyname* __res_* res_* _nss_dns* hickory_resolver::* std::sys*::lookup_host* std::net::socket_addr::*to_socket_addrs* std::net::socket_addr::resolve* ares_*";
    /// Putting things into order.
    Sort = "sort": "sort.* slices.Sort* slices.*sort* slices.*CmpFunc slices.insertion* slices.heap* slices.*Ordered core::slice::sort::* alloc::slice::*sort* core::slice::*sort* rayon::slice::*sort* qsort* msort_with_tmp*";
    /// Heaps and lists.
    Container = "container": "container/* alloc::collections::vec_deque* alloc::collections::linked_list* alloc::collections::binary_heap* ";
    /// Copying bytes.
    Copy = "copy": "runtime.memmove runtime.typedslicecopy runtime.bulkBarrierPreWrite* memcpy memmove mempcpy core::intrinsics::copy* core::ptr::copy* alloc::vec::Vec::extend_from_slice alloc::vec::Vec::clone alloc::slice::*to_vec* alloc::string::String::clone bytes.Clone io.Copy* io.copyBuffer*";
    /// Clearing memory.
    Clear = "clear": "runtime.memclr* memset clear_page* wmemset";
    /// Comparing and searching text and bytes.
    Compare = "compare": "runtime.memequal* memeqbody cmpbody runtime.cmpstring runtime.strequal runtime.efaceeq runtime.ifaceeq internal/bytealg.* indexbytebody countbody bytes.Equal* bytes.Index* bytes.Contains* bytes.Compare strings.Index* strings.Contains* strings.Equal* strings.HasPrefix strings.Compare strings.Count type..eq type:.eq
        memcmp bcmp strcmp strncmp strcasecmp strstr memmem memchr strchr core::slice::cmp::* core::str::pattern::* core::str::traits* core::slice::memchr::* memchr::* core::cmp::* alloc::string::String::eq core::slice::*contains* core::str::*contains* core::str::*find*";
    /// Changing text.
    Text = "text": "strings.* bytes.* unicode* bufio.* alloc::str::* alloc::string::* core::str::* core::char::* strtok strdup strlen strcpy strcat html.* net/url.*";
    /// Appending text to text.
    Concatenate = "concatenate": "runtime.concatstring* runtime.rawstring* runtime.growslice strings.(*Builder)* strings.Join strings.Repeat alloc::str::*join* alloc::str::*concat* alloc::string::String::push_str* alloc::vec::Vec::insert strcat";
    /// Asking for the time.
    Clock = "clock": "time.Now time.Since runtime.nanotime* runtime.walltime* time.now time.runtimeNano std::time::* std::sys*::time::* clock_gettime gettimeofday time __vdso_clock_gettime";
    /// Dates as text, time zones.
    Calendar = "calendar": "time.Time.* time.Parse* time.parse* time.LoadLocation* time.loadLocation* time.(*Location)* time.tzset* time.absDate time.Date time.Load* chrono::* jiff::* time::* localtime_r localtime gmtime_r mktime strftime strptime tzset __tz_*";
    /// Timers and sleeping.
    Timer = "timer": "time.Sleep time.NewTimer time.AfterFunc time.(*Timer)* time.startTimer time.stopTimer time.resetTimer runtime.checkTimers runtime.runtimer runtime.runOneTimer runtime.(*timers)* runtime.(*timer)* runtime.addtimer* runtime.deltimer* runtime.modtimer* runtime.siftupTimer runtime.siftdownTimer runtime.adjusttimers tokio::time::* tokio::runtime::time::* std::thread::sleep* nanosleep clock_nanosleep hrtimer_*";
    /// Compression.
    Compress = "compress": "compress/* flate2::* miniz_oxide::* zlib_rs::* brotli::* zstd::* zstd_safe::* lz4_flex::* deflate* inflate* longest_match compress_block ZSTD_* LZ4_* BrotliEncoder* BrotliDecoder* ";
    /// Digests, ciphers and derived keys, outside of handshakes.
    Cryptography = "cryptography": "crypto/sha* crypto/md5.* crypto/hmac.* crypto/aes* crypto/cipher.* crypto/rand.* crypto/internal/fips140/sha* crypto/internal/fips140/aes* golang.org/x/crypto/* sha1::* sha2::* md5::* hmac::* blake3::* ring::digest* ring::hmac* ring::pbkdf2* ring::aead* EVP_* SHA1_* SHA256_* SHA512_* MD5_* HMAC_* sha256_* sha512_* sha1_* aesni_* aes_* chacha20* poly1305* gcm_* crypt getrandom";
    /// Checksums.
    Checksum = "checksum": "hash/crc* hash/adler32.* hash/fnv.* crc32fast::* crc32* adler32*";
    /// Random numbers.
    Random = "random": "math/rand* rand::* rand_core::* rand_chacha::* getrandom::* random rand runtime.fastrand* runtime.rand* runtime.cheaprand*";
    /// Large numbers and functions of mathematics.
    Arithmetic = "arithmetic": "math.* math/big.* math/bits.* math/cmplx.* num_bigint::* BN_* bn_* core::f64* std::f64*";
    /// Filling templates.
    Template = "template": "text/template* html/template* tera::* handlebars::* askama::* minijinja::*";
    /// Pictures.
    Image = "image": "image* png::* jpeg_decoder::*";
    /// Channels and conditions.
    Channel = "channel": "runtime.chansend* runtime.chanrecv* runtime.selectgo runtime.selectnb* runtime.closechan std::sync::mpsc* std::sync::mpmc* crossbeam_channel::* flume::* tokio::sync::* futures_channel::* sync.(*Cond)* runtime.notifyList* pthread_cond_* std::sync::*condvar* std::sys*ondvar*";
    /// Stacks that become larger.
    StackGrow = "stack_grow": "runtime.newstack runtime.copystack runtime.morestack* runtime.adjustframe runtime.adjustpointers runtime.gentraceback";
    /// Panics, errors with stacks, and unwinding.
    Unwind = "unwind": "runtime.gopanic runtime.Callers runtime.callers* runtime.Caller runtime/debug.Stack runtime.Stack runtime.gentraceback runtime.tracebackPCs runtime.CallersFrames runtime.(*Frames)* runtime.pcvalue runtime.funcline* std::panicking::* std::backtrace* backtrace::* gimli::* addr2line::* _Unwind_* __gcc_personality*";
    /// Entering the kernel.
    Syscall = "syscall": "syscall.Syscall* syscall.RawSyscall* runtime/internal/syscall.* internal/runtime/syscall.* runtime.entersyscall runtime.exitsyscall runtime.reentersyscall entry_SYSCALL* do_syscall_64 __x64_sys_* syscall";
}

impl Concept {
    /// The concepts of a name as `frame` gives it.
    pub(crate) fn of(name: &str) -> Vec<Self> {
        let has = |concept: &&Self| concept.globs().split_ascii_whitespace().any(|glob| matches(glob, name));
        Self::ALL.iter().filter(has).copied().collect()
    }
}

/// `*` stands for any text, `?` for one byte.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    // The last star and where the text that it stands for ends: trying again means making it one longer.
    let (mut at, mut pattern, mut star) = (0, 0, None);
    while at < name.len() {
        match glob.get(pattern) {
            Some(b'*') => {
                star = Some((pattern + 1, at));
                pattern += 1;
            }
            Some(letter) if *letter == b'?' || Some(letter) == name.get(at) => {
                pattern += 1;
                at += 1;
            }
            _ => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                (pattern, at) = (after, taken + 1);
            }
        }
    }
    glob.iter().skip(pattern).all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (glob, name, wanted) in [
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("a?c", "abc", true),
            ("a", "ab", false),
            ("*", "", true),
            ("", "", true),
            ("a*b*c", "a1b2b3c", true),
            ("*::lock_contended", "std::sys::lock_contended", true),
        ] {
            assert_eq!(matches(glob, name), wanted, "{glob} {name}");
        }
    }

    #[test]
    fn one_thing_has_one_concept_in_every_language() {
        for (concept, names) in [
            (
                Concept::Lock,
                ["sync.(*Mutex).lockSlow", "std::sys::sync::mutex::futex::Mutex::lock_contended", "pthread_mutex_lock"],
            ),
            (Concept::Sync, ["os.(*File).Sync", "std::fs::File::sync_all", "fdatasync"]),
            (
                Concept::Regex,
                ["regexp.(*Regexp).doExecute", "regex_automata::meta::regex::Regex::search_half", "pcre2_match_8"],
            ),
            (Concept::Allocate, ["runtime.mallocgc", "alloc::raw_vec::RawVec::grow_one", "malloc"]),
            (Concept::Connect, ["net.(*Dialer).DialContext", "std::net::tcp::TcpStream::connect", "connect"]),
            (Concept::Log, ["log.(*Logger).Output", "log::__private_api::log", "syslog"]),
            (
                Concept::TlsHandshake,
                ["crypto/tls.(*Conn).Handshake", "rustls::client::hs::start_handshake", "SSL_do_handshake"],
            ),
        ] {
            for name in names {
                assert!(Concept::of(name).contains(&concept), "{name}: {:?}", Concept::of(name));
            }
        }
        assert_eq!(Concept::of(crate::frame::APPLICATION), []);
    }
}
