// SPDX-License-Identifier: MIT OR Apache-2.0

//! The web server.

mod guard;
mod limits;
mod page;
mod routes;
mod socket;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{TryRngCore, rngs::OsRng};
use tokio::sync::Semaphore;

use crate::{
    Options,
    access::Access,
    elements::ELEMENTS,
    jobs::Jobs,
    presets::Presets,
    problem::{Problem, Result},
};

/// Most pages at once; each one decodes and filters video.
const MAX_PAGES: usize = 8;
/// Time between looks at whether the server is to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// State shared by the request handlers.
#[derive(Debug)]
pub(crate) struct App {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// Secret of the address, 32 hex digits.
    pub(crate) token: String,
    /// Secret that is exchanged for the token once.
    pub(crate) code: Mutex<Option<String>>,
    /// Files that may be opened.
    pub(crate) access: Arc<Access>,
    /// Elements that cards may have.
    pub(crate) elements: Arc<[String]>,
    /// Settings that the user has stored.
    pub(crate) presets: Presets,
    /// Files to work on.
    pub(crate) jobs: Jobs,
    /// Places for pages.
    pub(crate) pages: Arc<Semaphore>,
    /// Video to open first.
    pub(crate) file: Option<PathBuf>,
    /// Time after which a pipeline without a sign of life is started again.
    pub(crate) patience: Duration,
}

/// A server that has a port.
#[derive(Debug)]
pub struct Studio {
    listener: TcpListener,
    app: Arc<App>,
}

impl App {
    /// Returns the token for the code, which then is of no use any more.
    pub(crate) fn exchange(&self, code: &str) -> Option<&str> {
        let mut kept = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.as_deref().is_some_and(|kept| guard::same(code, kept));
        known.then(|| {
            *kept = None;
            self.token.as_str()
        })
    }
}

impl Studio {
    /// Opens the port. GStreamer must be initialised, with the elements of this project.
    ///
    /// # Errors
    /// The port is taken, a folder does not exist, or the system gives no random numbers.
    pub fn bind(options: Options) -> std::result::Result<Self, Problem> {
        let listener = TcpListener::bind(options.listen).map_err(|err| no_port(&options, &err))?;
        let address = listener.local_addr().map_err(|err| no_port(&options, &err))?;
        listener.set_nonblocking(true).map_err(|err| no_port(&options, &err))?;
        let own = ELEMENTS.map(str::to_owned);
        let elements = own.into_iter().chain(options.more_elements).collect();
        let app = App {
            address,
            token: secret()?,
            code: Mutex::new(Some(secret()?)),
            access: Arc::new(Access::new(&options.folders)?),
            elements,
            presets: Presets::new(options.presets),
            jobs: Jobs::start(options.program)?,
            pages: Arc::new(Semaphore::new(MAX_PAGES)),
            file: options.file,
            patience: options.patience,
        };
        Ok(Self { listener, app: Arc::new(app) })
    }

    /// Returns the address to open in a browser, with the token. Browsers do not send the part
    /// behind `#` to servers, so it gets into no log.
    pub fn url(&self) -> String {
        format!("http://{}/#{}", browsable(self.app.address), self.app.token)
    }

    /// Returns an address for the program that opens the browser. Other users see the arguments of
    /// programs, so instead of the token it has a code that works once.
    pub fn url_for_browser(&self) -> String {
        let code = self.app.code.lock().unwrap_or_else(PoisonError::into_inner);
        let code = code.as_deref().unwrap_or_default();
        format!("http://{}/#code={code}", browsable(self.app.address))
    }

    /// Answers requests until `stopped` returns true.
    ///
    /// # Errors
    /// The system provides no threads.
    pub fn serve(self, stopped: impl Fn() -> bool) -> std::result::Result<(), Problem> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_io()
            .enable_time()
            .build()
            .map_err(|err| no_runtime(&err))?;
        let app = Arc::clone(&self.app);
        let served = runtime.block_on(async {
            let listener =
                tokio::net::TcpListener::from_std(self.listener).map_err(|err| no_runtime(&err))?;
            let router = routes::router(self.app);
            tokio::select! {
                () = limits::accept(listener, router) => (),
                () = until(stopped) => (),
            }
            Ok(())
        });
        // Sessions end with their sockets; a request that still runs is not waited for.
        runtime.shutdown_timeout(Duration::from_millis(500));
        app.jobs.end();
        served
    }
}

async fn until(stopped: impl Fn() -> bool) {
    while !stopped() {
        tokio::time::sleep(STOP_INTERVAL).await;
    }
}

/// Returns the address that a browser on this machine can open.
fn browsable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}

/// Returns 128 random bits as hex digits.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).map_err(|err| {
        Problem::new(format!("the system gives no random numbers: {err}"), "try again")
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn no_port(options: &Options, err: &std::io::Error) -> Problem {
    let advice = match err.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program, perhaps another studio, has this port: choose one with --listen \
             127.0.0.1:PORT; port 0 takes a free one"
        }
        std::io::ErrorKind::PermissionDenied => "choose a port above 1023 with --listen",
        _ => "choose an address of this machine with --listen",
    };
    Problem::new(format!("cannot listen on {}: {err}", options.listen), advice)
}

fn no_runtime(err: &std::io::Error) -> Problem {
    Problem::new(format!("the server does not start: {err}"), "close other programs")
}
