//! What the demo services in Rust share: their arguments, and the switch that puts a fault in.
//!
//! Nothing here does work on the request path, so that no frame of this crate can give a fault away.

use std::collections::HashMap;
use std::env;

/// What the command line said; every argument is `--name value`.
#[derive(Debug)]
pub struct Stage {
    values: HashMap<String, String>,
    faults: HashMap<String, usize>,
}

impl Stage {
    /// Reads the arguments of the process. Stops it when they make no sense: only our own collector starts it.
    pub fn open() -> Self {
        let mut values = HashMap::new();
        let mut args = env::args().skip(1);
        while let (Some(name), Some(value)) = (args.next(), args.next()) {
            values.insert(name.trim_start_matches('-').to_owned(), value);
        }
        let faults = values.get("faults").map_or("", String::as_str);
        let faults = faults.split(',').filter(|part| !part.is_empty()).map(|part| {
            let (name, level) = part.split_once('=').expect("--faults takes name=level");
            let level = level.parse().expect("a level is a number");
            assert!((1..=4).contains(&level), "a level is from 1 to 4");
            (name.to_owned(), level)
        });
        Self { faults: faults.collect(), values }
    }

    /// The value of an argument, empty when it was not given.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// The value for a fault's level, 0 when the fault is off.
    pub fn pick(&self, name: &str, levels: [usize; 4]) -> usize {
        self.faults.get(name).map_or(0, |level| levels[level - 1])
    }
}
