//! nginx as a distribution ships it, serving files from a directory on loopback.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A running nginx; it ends when this is dropped.
pub struct Nginx {
    child: Child,
    files: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The path at nginx of what is at `path` here, and its file's name.
pub fn place(path: &str) -> (String, String) {
    let name = path.trim_matches('/').replace('/', "-");
    let name = match name.rsplit_once('.') {
        Some((_, "svg")) => name,
        _ => format!("page-{name}.html"),
    };
    (format!("/{name}"), name)
}

impl Nginx {
    /// Starts it with its state in `directory`.
    pub fn start(directory: &Path) -> anyhow::Result<Nginx> {
        let files = directory.join("files");
        fs::create_dir_all(&files)?;
        // Its workers may run as another user.
        let above = directory.parent().context("the directory is in another one")?;
        for open in [above, directory, &files] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755))?;
        }
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let place = directory.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off;\nworker_processes auto;\npid {place}/pid;\nerror_log {place}/log;\n\
             events {{}}\nhttp {{\n{temporary}access_log off;\nsendfile on;\ntcp_nopush on;\n\
             keepalive_requests 100000000;\n\
             types {{ image/svg+xml svg; text/html html; }}\n\
             server {{ listen {address}; root {}; }}\n}}\n",
            files.display()
        );
        let path = directory.join("nginx.conf");
        fs::write(&path, config)?;
        let child = Command::new(std::env::var_os("NGINX").unwrap_or("nginx".into()))
            .arg("-c")
            .arg(&path)
            .arg("-p")
            .arg(directory)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("run nginx: install the package nginx, or name it by NGINX")?;
        let nginx = Nginx { child, files, address };
        let give_up = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > give_up {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                bail!("nginx did not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    /// Has `body` served at the place of `path`.
    pub fn serve(&self, path: &str, body: &[u8]) -> anyhow::Result<()> {
        Ok(fs::write(self.files.join(place(path).1), body)?)
    }

    /// Its processes.
    pub fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        Ok(std::iter::once(own).chain(children).collect())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its workers.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}
