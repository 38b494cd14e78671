//! How much memory a piece of code asks for.
//!
//! An allocator is the one place that sees every request, and it cannot be written without `unsafe`. It hands every
//! request on to the system's allocator as it came.

#![allow(unsafe_code, reason = "the trait of allocators is unsafe; every method hands its arguments on unchanged")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, which counts what each thread asks of it. A binary that measures makes it its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// What a thread has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the largest single request.
    pub largest: usize,
    /// Bytes that were held at one time, beyond what was held before.
    pub peak: usize,
}

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// Runs `code` and says what it asked of the allocator on this thread. Nothing, if [`Counting`] is not the allocator.
/// Pages that are taken from the system past the allocator (buffers of 4 MiB and more) are not counted.
pub fn measure<T>(code: impl FnOnce() -> T) -> (T, Usage) {
    let before = HELD.get();
    PEAK.set(before);
    LARGEST.set(0);
    let value = code();
    (value, Usage { largest: LARGEST.get(), peak: (PEAK.get() - before).max(0) as usize })
}

fn taken(size: usize) {
    // A thread that ends may free and take after its counters are gone; nobody measures that.
    let _ = HELD.try_with(|held| {
        held.set(held.get().wrapping_add_unsigned(size));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    });
}

fn freed(size: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_sub_unsigned(size)));
}

// SAFETY: each method gives the system's allocator the arguments it was given, and gives back what that answers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        taken(new_size);
        freed(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}
