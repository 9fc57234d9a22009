//! Whose window a profile is: what lets a server know a repetition when it comes.
//!
//! A sender has a number of its own, made once, and counts its windows from 1 on. It sends them in that order and the next one
//! only after an answer, so that a server has to remember one number a sender: what is not above it has been taken.
//!
//! ```text
//! x-homeostat-window: 00c0ffee00c0ffee-17        sender, 16 hexadecimal digits │ number, decimal
//! ```

use std::{fmt, str::FromStr};

/// The header of a request that says it.
pub const WINDOW_HEADER: &str = "x-homeostat-window";

/// The header of an answer that says that the window had been taken before.
pub const REPEATED_HEADER: &str = "x-homeostat-repeated";

/// A window of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId {
    /// Who.
    pub sender: u64,
    /// Which, from 1 on, ascending; numbers may be left out.
    pub number: u64,
}

/// A text that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no window: it is the sender's 16 hexadecimal digits, `-`, and a number above zero")]
pub struct BadWindow(String);

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.sender, self.number)
    }
}

impl FromStr for WindowId {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let read = || {
            let (sender, number) = text.split_once('-')?;
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let is_whole = sender.len() == 16 && plain(sender) && plain(number);
            let (sender, number) = (u64::from_str_radix(sender, 16).ok()?, number.parse().ok()?);
            (is_whole && 0 < number).then_some(Self { sender, number })
        };
        // Long nonsense is cut: it comes back in an answer.
        read().ok_or_else(|| BadWindow(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_come_back_and_nonsense_is_told() {
        for window in [WindowId { sender: 0, number: 1 }, WindowId { sender: u64::MAX, number: u64::MAX }] {
            assert_eq!(window.to_string().parse(), Ok(window));
        }
        assert_eq!(WindowId { sender: 0x00c0_ffee, number: 17 }.to_string(), "0000000000c0ffee-17");
        for bad in [
            "",
            "17",
            "c0ffee-17",
            "0000000000c0ffee-0",
            "0000000000c0ffee-",
            "0000000000c0ffee-+1",
            "+00000000000ffee-1",
        ] {
            assert!(bad.parse::<WindowId>().is_err(), "{bad}");
        }
    }
}
