//! Packages of the npm registry, as they were published: fetched once with the ordinary client,
//! kept below `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};

/// A published version.
pub struct NpmPackage {
    pub name: &'static str,
    pub version: &'static str,
    /// What its maker published, as the registry says it: `sha512-…`.
    pub integrity: &'static str,
}

impl NpmPackage {
    /// A file of the package.
    pub fn read(&self, file: &str) -> String {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let archive = self.fetch();
        let unpacked = Command::new("tar")
            .args(["--extract", "--gzip", "--to-stdout", "--file"])
            .arg(&archive)
            .arg(format!("package/{file}"))
            .output()
            .expect("tar");
        assert!(unpacked.status.success(), "{file} in {}", self.name);
        String::from_utf8(unpacked.stdout).unwrap()
    }

    fn fetch(&self) -> PathBuf {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
        let name = self.name.trim_start_matches('@').replace('/', "-");
        let archive = dir.join(format!("{name}-{}.tgz", self.version));
        if !self.is_whole(&archive) {
            std::fs::create_dir_all(&dir).unwrap();
            let package = format!("{}@{}", self.name, self.version);
            let packed = Command::new("npm")
                .args(["pack", "--silent", &package])
                .current_dir(&dir)
                .output()
                .expect("npm, which tests/run installs");
            let told = String::from_utf8_lossy(&packed.stderr);
            assert!(packed.status.success(), "npm pack {package}: {told}");
            assert!(
                self.is_whole(&archive),
                "{package} is not what was published"
            );
        }
        archive
    }

    fn is_whole(&self, archive: &Path) -> bool {
        std::fs::read(archive).is_ok_and(|bytes| {
            format!("sha512-{}", STANDARD.encode(Sha512::digest(bytes))) == self.integrity
        })
    }
}
