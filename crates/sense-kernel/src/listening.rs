//! Who listens on which port: `/proc/net/tcp` names sockets by number, and each process links to those that it has open.
//!
//! Source: proc_net_tcp(5), proc_pid_fd(5).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use crate::processes::pids;

/// Listening sockets that are looked for. Machines have some hundred.
const LISTENERS_MAX: usize = 4096;
/// Files of one process that are looked at. Gateways have a file for each connection, and listeners were opened early.
const FILES_MAX: usize = 4096;

/// Processes by what they listen on.
pub type Listening = BTreeMap<SocketAddr, BTreeSet<u32>>;

/// Addresses that somebody listens on, in this process' network, with the processes that do; those of others whose files may
/// not be looked at are left out. Looks through the open files of all processes: some milliseconds.
pub fn listening() -> Listening {
    let mut sockets = BTreeMap::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        sockets.extend(text.lines().filter_map(listener).take(LISTENERS_MAX));
    }
    let mut found = Listening::new();
    for pid in pids() {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().take(FILES_MAX);
        for link in files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()) {
            let number = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(address) = number.and_then(|number: u64| sockets.get(&number)) {
                found.entry(*address).or_default().insert(pid);
            }
        }
    }
    found
}

/// Processes that answer at an address of this machine: those that listen on it, else on all addresses.
pub fn processes_at(address: SocketAddr, listening: &Listening) -> BTreeSet<u32> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let mut places = [address.ip()].into_iter().chain(everywhere);
    places.find_map(|ip| listening.get(&SocketAddr::new(ip, address.port()))).cloned().unwrap_or_default()
}

/// Whether an address is one of this machine's. Nothing is sent.
pub fn is_here(ip: IpAddr) -> bool {
    // Any port: it is about the way there.
    let there = SocketAddr::new(ip, 9);
    let connected = |from: SocketAddr| {
        let socket = UdpSocket::bind(from)?;
        socket.connect(there)?;
        socket.local_addr()
    };
    match ip {
        _ if ip.is_loopback() || ip.is_unspecified() => true,
        // Machines that take over others' addresses let programs bind any (net.ipv4.ip_nonlocal_bind), but send nothing from
        // an address that they do not have.
        IpAddr::V4(_) => connected(SocketAddr::new(ip, 0)).is_ok(),
        // What goes to one of our own addresses comes from that address.
        IpAddr::V6(_) => connected(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).is_ok_and(|chosen| chosen.ip() == ip),
    }
}

/// `SL: ADDRESS:PORT REMOTE STATE … INODE …`: number of the socket and its address, if it listens (state 0A).
fn listener(line: &str) -> Option<(u64, SocketAddr)> {
    let mut words = line.split_whitespace().skip(1);
    let (address, state) = (words.next()?, words.nth(1)?);
    let number = words.nth(5)?.parse().ok()?;
    let (ip, port) = address.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    (state == "0A" && number != 0).then_some((number, address))
}

/// Words of four bytes, each in the machine's order.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, into) in bytes.chunks_exact_mut(4).enumerate() {
                into.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, process::Command};

    use super::*;

    #[test]
    fn sockets_that_listen_are_read() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100";
        assert_eq!(listener(line), Some((12345, "127.0.0.1:8080".parse().unwrap())));
        let long = line.replace("0100007F:", "00000000000000000000000001000000:");
        assert_eq!(listener(&long), Some((12345, "[::1]:8080".parse().unwrap())));
        for other in [line.replace(" 0A ", " 01 "), line.replace("0100007F", "0100"), line.replace(" 12345 ", " x ")] {
            assert_eq!(listener(&other), None, "{other}");
        }
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn we_are_found_at_our_own_address() {
        let (here, everywhere) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("0.0.0.0:0").unwrap());
        let found = listening();
        let address = here.local_addr().unwrap();
        assert_eq!(processes_at(address, &found), [std::process::id()].into());
        let port = everywhere.local_addr().unwrap().port();
        assert_eq!(processes_at(SocketAddr::from(([127, 0, 0, 1], port)), &found), [std::process::id()].into());
        assert_eq!(processes_at(address, &Listening::new()), BTreeSet::new());
    }

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        for here in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert!(is_here(here.parse().unwrap()), "{here}");
        }
        // Those for examples, which nobody has.
        for elsewhere in ["192.0.2.1", "2001:db8::1"] {
            assert!(!is_here(elsewhere.parse().unwrap()), "{elsewhere}");
        }
    }

    /// The test above, in a network of its own where any address may be bound.
    #[test]
    fn addresses_of_this_machine_are_told_from_others_where_any_may_be_bound() {
        let allow = "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind && echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind";
        let unshare = |command: &str| {
            let mut run = Command::new("unshare");
            run.args(["--net", "sh", "-c", command, "sh"]).arg(std::env::current_exe().unwrap());
            run.arg("listening::tests::addresses_of_this_machine_are_told_from_others").arg("--exact");
            run.output()
        };
        if !unshare(allow).is_ok_and(|done| done.status.success()) {
            println!("SKIPPED: addresses where any may be bound: no network of its own can be had");
            return;
        }
        let ran = unshare(&format!("{allow} && exec \"$@\"")).unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && told.contains("1 passed"), "{told}");
    }
}
