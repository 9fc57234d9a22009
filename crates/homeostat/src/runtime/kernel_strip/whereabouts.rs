//! Which processes of this machine answer at which endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

use homeostat_sense_kernel::{Listening, is_here, listening, processes_at};

/// Looks between two searches for processes while some are missing, at first; twice as many after each search that found
/// nothing new.
const SEARCH_EVERY: u32 = 4;
/// And at most, or when none is missing: once in some four minutes. Others may begin to listen beside those that are known.
const SEARCH_EVERY_MAX: u32 = 256;

/// What is known from one look to the next.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Whereabouts {
    processes: BTreeMap<SocketAddr, BTreeSet<u32>>,
    /// Those of the configuration; some are on other machines.
    endpoints: BTreeSet<SocketAddr>,
    search_in: u32,
    search_every: u32,
}

impl Whereabouts {
    /// Processes by endpoint, of those endpoints that are on this machine.
    pub(in crate::runtime) fn processes(&self) -> &BTreeMap<SocketAddr, BTreeSet<u32>> {
        &self.processes
    }

    /// Looks for processes when endpoints have changed, when one has ended, and now and then, more often while some are missing.
    pub(in crate::runtime) fn look(&mut self, endpoints: BTreeSet<SocketAddr>) {
        let has_changed = endpoints != self.endpoints;
        if has_changed {
            self.processes.retain(|endpoint, _| endpoints.contains(endpoint));
            self.endpoints = endpoints;
        }
        let ends = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        let has_ended = self.processes.values().flatten().any(ends);
        if has_changed || has_ended {
            (self.search_in, self.search_every) = (0, SEARCH_EVERY);
        }
        if let Some(less) = self.search_in.checked_sub(1) {
            self.search_in = less;
            return;
        }
        let here: Vec<SocketAddr> = self.endpoints.iter().copied().filter(|endpoint| is_here(endpoint.ip())).collect();
        let found = if here.is_empty() { Listening::new() } else { listening() };
        let of = |endpoint: &SocketAddr| {
            Some((*endpoint, processes_at(*endpoint, &found))).filter(|(_, pids)| !pids.is_empty())
        };
        let processes: BTreeMap<_, _> = here.iter().filter_map(of).collect();
        let is_whole = processes.len() == here.len();
        self.search_every = match self.search_every {
            _ if is_whole => SEARCH_EVERY_MAX,
            every if processes == self.processes => (2 * every).min(SEARCH_EVERY_MAX),
            _ => SEARCH_EVERY,
        };
        self.search_in = self.search_every;
        self.processes = processes;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::fd::OwnedFd,
        process::{Command, Stdio},
    };

    use super::*;

    /// An address for examples, which no machine has.
    const ELSEWHERE: &str = "192.0.2.1:80";

    #[test]
    fn nobody_is_looked_for_at_addresses_of_others() {
        let mut whereabouts = Whereabouts::default();
        whereabouts.look([ELSEWHERE.parse().unwrap()].into());
        assert!(whereabouts.processes().is_empty());
        assert_eq!(whereabouts.search_in, SEARCH_EVERY_MAX);
    }

    #[test]
    fn endpoints_on_other_machines_do_not_make_the_search_go_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let both = [listener.local_addr().unwrap(), ELSEWHERE.parse().unwrap()];
        let mut whereabouts = Whereabouts::default();
        for looks in 0..3 {
            whereabouts.look(both.into());
            assert_eq!((whereabouts.processes.len(), whereabouts.search_in), (1, SEARCH_EVERY_MAX - looks));
        }
    }

    #[test]
    fn who_comes_to_listen_beside_others_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut whereabouts = Whereabouts::default();
        whereabouts.look([address].into());
        assert_eq!(whereabouts.processes.get(&address), Some(&[std::process::id()].into()));
        // A worker that was given the socket.
        let mut worker = Command::new("sleep").arg("1000").stdin(Stdio::from(OwnedFd::from(listener))).spawn().unwrap();
        for _ in 0..=SEARCH_EVERY_MAX {
            whereabouts.look([address].into());
        }
        let found = whereabouts.processes.get(&address).cloned();
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert!(found.is_some_and(|pids| pids.contains(&worker.id())));
    }
}
