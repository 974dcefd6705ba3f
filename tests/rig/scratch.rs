//! The directory in which everything of a run lives, and the process that clears up after it.
//!
//! A run can end by a panic, by Ctrl-C or by kill -9, so it does not clear up itself: a shell waits
//! on a pipe that the kernel closes when the run's process is gone, whatever ended it. It then ends
//! every process noted here, unmounts, and removes the directory.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const GUARD: &str = r#"
root=$1
trap '' HUP INT TERM
cat >/dev/null
# A dead process whose parent has not asked for it yet is as good as gone.
is_alive() { grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null; }
for note in "$root"/processes/*; do
    [ -f "$note" ] && kill -s "$(cat "$note")" "${note##*/}" 2>/dev/null
done
for note in "$root"/processes/*; do
    [ -f "$note" ] || continue
    tries=0
    while is_alive "${note##*/}"; do
        tries=$((tries + 1))
        [ $tries -eq 100 ] && kill -9 "${note##*/}" 2>/dev/null
        [ $tries -gt 150 ] && break
        sleep 0.1
    done
done
while read -r _ place _; do
    case $place in "$root"/*) umount -l "$place" ;; esac
done </proc/mounts
rm -rf "$root"
"#;

struct Scratch {
    root: PathBuf,
    /// Its standard input is open for as long as this process lives.
    _guard: Child,
}

/// Where the run's directory is made; the system's place for such where nobody says.
static PLACE: OnceLock<PathBuf> = OnceLock::new();

/// Says where the run's directory is made. It has no effect once something was made there.
pub fn set_place(place: PathBuf) {
    let _ = PLACE.set(place);
}

/// Where the run's directory is made.
pub fn place() -> PathBuf {
    PLACE.get().cloned().unwrap_or_else(std::env::temp_dir)
}

/// The run's directory.
pub fn root() -> &'static Path {
    static SCRATCH: OnceLock<Scratch> = OnceLock::new();
    let scratch = SCRATCH.get_or_init(|| {
        let root = tempfile::Builder::new()
            .prefix("sillage-run-")
            .tempdir_in(place())
            .unwrap()
            .keep();
        // Postgres runs as another user than root and has to get through.
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(root.join("processes")).unwrap();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sillage-run-guard"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .expect("sh");
        Scratch {
            root,
            _guard: guard,
        }
    });
    &scratch.root
}

/// A new, empty directory; it goes when the run does.
pub fn new_dir(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = root().join(format!("{number}-{name}"));
    std::fs::create_dir(&dir).unwrap();
    dir
}

/// A child process that does not outlive the run.
#[derive(Debug)]
pub struct Process {
    child: Child,
    note: PathBuf,
}

impl Process {
    /// Starts it; `signal` is what ends it for good when the run is over (Postgres frees its shared
    /// memory on QUIT only).
    pub fn start(command: &mut Command, signal: &str) -> Self {
        Self::try_start(command, signal).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// [`Self::start`] where it is no fault of the run's if the program cannot be started.
    pub fn try_start(command: &mut Command, signal: &str) -> std::io::Result<Self> {
        let processes = root().join("processes");
        let child = command.process_group(0).spawn()?;
        let note = processes.join(child.id().to_string());
        std::fs::write(&note, signal)?;
        Ok(Self { child, note })
    }

    /// What it writes, where that goes into a pipe.
    pub fn stdout(&mut self) -> Option<&mut ChildStdout> {
        self.child.stdout.as_mut()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, signal: &str) {
        send_signal(signal, &[self.id()]);
    }

    /// The exit status, where the process has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.try_wait().unwrap();
        if status.is_some() {
            let _ = std::fs::remove_file(&self.note);
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let signal = std::fs::read_to_string(&self.note).unwrap_or_else(|_| "KILL".to_owned());
            self.signal(&signal);
            let _ = self.child.wait();
            let _ = std::fs::remove_file(&self.note);
        }
    }
}

/// Sends a signal to processes, all at once; those that are gone already do not matter.
pub fn send_signal(signal: &str, ids: &[u32]) {
    let ids = ids.iter().map(u32::to_string);
    // Not /bin/kill: it is in a package that not every system has.
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$@\" 2>/dev/null", "kill", signal])
        .args(ids)
        .status();
}

/// A small file system of its own.
pub struct FullDisk {
    /// Where it is mounted.
    pub dir: PathBuf,
}

impl FullDisk {
    /// Mounts one of so many bytes; none where this user may not mount.
    pub fn mount(bytes: u64) -> Option<Self> {
        let dir = new_dir("disk");
        let is_mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "sillage-it"])
            .arg(&dir)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        is_mounted.then_some(Self { dir })
    }

    /// Takes its room but for so many bytes; again, what was given back since.
    pub fn fill(&self, left: u64) {
        use std::io::Write as _;
        let bytes = vec![0_u8; self.free().saturating_sub(left) as usize];
        let mut filler = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("filler"))
            .unwrap();
        // The server may have taken some of it in the meantime: then less is left than wanted.
        let _ = filler.write_all(&bytes);
    }

    /// Gives back what [`Self::fill`] took.
    pub fn make_room(&self) {
        std::fs::remove_file(self.dir.join("filler")).unwrap();
    }

    /// Bytes that are left on it.
    pub fn free(&self) -> u64 {
        let answer = Command::new("stat")
            .args(["--file-system", "--format=%a %S"])
            .arg(&self.dir)
            .output()
            .unwrap();
        let text = String::from_utf8(answer.stdout).unwrap();
        let (blocks, size) = text.trim().split_once(' ').unwrap();
        blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap()
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}
