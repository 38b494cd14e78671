//! Writes the seeds of every target as files, for a fuzzer to begin with:
//! `cargo run -p remex-fuzz --example seeds -- tests/fuzz/libfuzzer/corpus`.

use std::{env, error::Error, fs, path::Path};

use remex_fuzz::{all, seeds};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("where to? give a folder")?;
    for target in all() {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder)?;
        for (n, (_, bytes)) in seeds::of(target.name)?.into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:04}")), bytes)?;
        }
        println!("{}", folder.display());
    }
    Ok(())
}
