//! Listens on a port and takes connections, or connects to one: `peer listen PORT`, `peer connect PORT COUNT`. Says a line when
//! it has done so, for a listener the port, and ends with its input.

use std::{
    env,
    io::{self, Read as _},
    net::{TcpListener, TcpStream},
    process, thread,
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u16>().ok()).unwrap_or(0);
    let port = number(2);
    let mut connected = Vec::new();
    if arguments.get(1).is_some_and(|what| what == "listen") {
        let listener = TcpListener::bind(("0.0.0.0", port))?;
        println!("{}", listener.local_addr()?.port());
        thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    } else {
        for _ in 0..number(3) {
            connected.push(TcpStream::connect(("127.0.0.1", port))?);
        }
        println!("connected");
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(connected);
    process::exit(0)
}
