//! What an agent senses: services by name, each with where it is seen.

use std::{fmt, str::FromStr};

/// A service, as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name: the label `service_name`.
    pub name: String,
    /// Where it is seen.
    pub source: Source,
}

/// Where a service is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A process, sampled by the kernel.
    Pid(u32),
    /// All processes of a command, of a program's file or of a systemd unit with this name, sampled by the kernel.
    Command(String),
    /// Every process and the kernel itself, sampled by the kernel.
    Machine,
    /// A program that serves `/debug/pprof`: scheme and address.
    Url(String),
}

/// A text that names no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadService {
    /// It is not written as one.
    #[error(
        "{0:?} names no service: write NAME=pid:4711, NAME=comm:nginx, NAME=machine or NAME=url:http://127.0.0.1:6060"
    )]
    Form(String),
    /// Its address holds a user or a password; it is not repeated here.
    #[error(
        "the address of the service {0:?} holds a user or a password, which the log and `/status` would show; leave it out: programs \
         are asked without, and `--bearer-file` names the token for the server"
    )]
    Credentials(String),
}

impl Source {
    /// Whether the kernel samples it.
    pub fn is_sampled(&self) -> bool {
        !matches!(self, Self::Url(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Command(name) => write!(f, "comm:{name}"),
            Self::Machine => f.write_str("machine"),
            Self::Url(url) => write!(f, "url:{url}"),
        }
    }
}

impl FromStr for ServiceSpec {
    type Err = BadService;

    fn from_str(text: &str) -> Result<Self, BadService> {
        let read = || {
            let (name, source) = text.split_once('=')?;
            let source = match source.split_once(':') {
                None if source == "machine" => Source::Machine,
                Some(("pid", pid)) => Source::Pid(pid.parse().ok().filter(|pid| 0 < *pid)?),
                Some(("comm", command)) => Source::Command(command.to_owned()),
                Some(("url", url)) => Source::Url(address(url)?.to_owned()),
                _ => return None,
            };
            let is_named = !name.trim().is_empty() && source != Source::Command(String::new());
            is_named.then(|| Self { name: name.to_owned(), source })
        };
        if has_userinfo(text) {
            // Where the name was forgotten, what stands before the first `=` is a part of the address.
            let name = text.split_once('=').map_or("", |(name, _)| name);
            let name = if name.contains("://") { "" } else { name };
            return Err(BadService::Credentials(name.to_owned()));
        }
        read().ok_or_else(|| BadService::Form(text.to_owned()))
    }
}

/// Whether a URL holds a user or a password, as in `http://user:password@host`.
pub(crate) fn has_userinfo(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| authority.contains('@'))
}

/// Scheme and address of a URL; what stands behind is `/debug/pprof` in any case.
fn address(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let is_whole = 0 < end && rest.get(..end)?.parse::<http::uri::Authority>().is_ok();
    url.get(..url.len() - rest.len() + end).filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_and_slips_are_told_with_examples() {
        let read = |text: &str| text.parse::<ServiceSpec>().map(|service| (service.name, service.source));
        let url = |url: &str| Source::Url(url.to_owned());
        assert_eq!(read("shop=pid:7"), Ok(("shop".into(), Source::Pid(7))));
        assert_eq!(read("web=comm:nginx: worker"), Ok(("web".into(), Source::Command("nginx: worker".into()))));
        assert_eq!(read("all=machine"), Ok(("all".into(), Source::Machine)));
        assert_eq!(read("a=url:http://[::1]:6060/debug/pprof/"), Ok(("a".into(), url("http://[::1]:6060"))));
        assert_eq!(read("a=url:https://shop?x=y"), Ok(("a".into(), url("https://shop"))));
        for secret in [
            "a=url:http://user:pa55@shop:80/x",
            "a=url:https://pa55@shop",
            "a=http://u:pa55@shop",
            "http://u:pa55@shop",
            "http://u:pa=55@shop",
        ] {
            let said = read(secret).unwrap_err().to_string();
            assert!(said.contains("--bearer-file") && !said.contains("pa55") && !said.contains("u:pa"), "{said}");
        }
        assert_eq!(read("a=url:http://shop/@x"), Ok(("a".into(), url("http://shop"))));
        for bad in [
            "",
            "shop",
            "shop=",
            "=pid:7",
            "shop=pid:0",
            "shop=pid:x",
            "shop=comm:",
            "shop=url:shop:80",
            "shop=url:http://",
            "shop=host:a",
        ] {
            assert!(read(bad).unwrap_err().to_string().contains("NAME=comm:nginx"), "{bad}");
        }
    }
}
