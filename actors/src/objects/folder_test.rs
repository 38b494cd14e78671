//! Folders of tasks that live, and of tasks that are dead.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A folder of a test's own, removed when this is dropped.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let name = format!("spill-test-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn open(&self, life: u64) -> Folder {
        Folder::open(&self.0, &"/job:w/task:3".parse().unwrap(), Incarnation(life)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_written_is_read_and_removed() {
    let temp = Temp::new();
    let folder = temp.open(1);
    folder.write(7, [b"head", b"and data"]).unwrap();
    let (mut head, mut data) = ([0; 4], [0; 8]);
    folder.read(7, [&mut head, &mut data]).unwrap();
    assert_eq!((&head, &data), (b"head", b"and data"));
    let kind = |head: &mut [u8], data: &mut [u8], file| folder.read(file, [head, data]).unwrap_err().kind();
    assert_eq!(kind(&mut [0; 4], &mut [0; 9], 7), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(&mut [0; 4], &mut [0; 7], 7), io::ErrorKind::InvalidData);
    assert_eq!(kind(&mut [0; 4], &mut [0; 8], 8), io::ErrorKind::NotFound);
    folder.write(7, [b"", b""]).unwrap_err();
    folder.remove(7);
    folder.remove(7);
    assert_eq!(kind(&mut [0; 4], &mut [0; 8], 7), io::ErrorKind::NotFound);
}

#[test]
fn a_folder_goes_with_its_task() {
    let temp = Temp::new();
    let (one, two) = (temp.open(1), temp.open(0xabc));
    assert_eq!(temp.names(), ["remex-w-3-0000000000000001", "remex-w-3-0000000000000abc"]);
    one.write(1, [b"a", b"b"]).unwrap();
    two.write(1, [b"a", b"b"]).unwrap();
    one.close();
    one.write(2, [b"a", b"b"]).unwrap_err();
    assert_eq!(temp.names(), ["remex-w-3-0000000000000abc"]);
    drop(two);
    assert!(temp.names().is_empty());
}

/// A task that was killed drops nothing: its lock is free, and its files are there.
#[test]
fn what_a_dead_task_left_is_removed_and_what_a_live_one_has_is_not() {
    let temp = Temp::new();
    let live = temp.open(1);
    live.write(1, [b"a", b"b"]).unwrap();
    let dead = temp.0.join("remex-w-0-00000000000000ff");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join(LOCK), b"").unwrap();
    fs::write(dead.join("0000000000000001.rmxt"), b"data").unwrap();
    fs::create_dir(temp.0.join("remex-killed-at-once")).unwrap();
    // What is not a task's stays, as does a folder with something in it that no task made.
    fs::create_dir(temp.0.join("other")).unwrap();
    let mixed = temp.0.join("remex-mixed");
    fs::create_dir(&mixed).unwrap();
    fs::write(mixed.join(LOCK), b"").unwrap();
    fs::write(mixed.join("letter.txt"), b"mine").unwrap();
    std::os::unix::fs::symlink(&mixed, temp.0.join("remex-link")).unwrap();
    let second = temp.open(2);
    let names = temp.names();
    let expected = ["other", "remex-link", "remex-mixed", "remex-w-3-0000000000000001", "remex-w-3-0000000000000002"];
    assert_eq!(names, expected);
    assert_eq!(fs::read(mixed.join("letter.txt")).unwrap(), b"mine");
    live.read(1, [&mut [0], &mut [0]]).unwrap();
    drop(second);
}

#[test]
fn tasks_that_start_together_keep_their_folders() {
    let temp = Temp::new();
    std::thread::scope(|scope| {
        for life in 0..8 {
            let temp = &temp;
            scope.spawn(move || {
                for round in 0..20 {
                    let folder = temp.open(life << 8 | round);
                    folder.write(1, [b"a", b"b"]).unwrap();
                    folder.read(1, [&mut [0], &mut [0]]).unwrap();
                }
            });
        }
    });
    assert!(temp.names().is_empty());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let temp = Temp::new();
    fs::write(temp.0.join("file"), b"").unwrap();
    Folder::open(&temp.0.join("file"), &"/job:w/task:3".parse().unwrap(), Incarnation(1)).unwrap_err();
    let nested = Folder::open(&temp.0.join("a/b"), &"/job:w/task:3".parse().unwrap(), Incarnation(1)).unwrap();
    nested.write(1, [b"a", b"b"]).unwrap();
}
