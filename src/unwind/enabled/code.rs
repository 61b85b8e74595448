//! The code of all loaded modules, with its unwind tables.

use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};

use super::TableUnwinder;
use crate::sys::held_modules::HeldModule;

/// What is loaded.
pub(super) struct Code<'held> {
    modules: Vec<HeldModule<'held>>,
    unwinder: TableUnwinder<'held>,
}

impl<'held> Code<'held> {
    pub(super) fn new(modules: Vec<HeldModule<'held>>) -> Self {
        let mut unwinder = TableUnwinder::new();
        for module in modules.iter().filter(|module| !module.range.is_empty()) {
            unwinder.add_module(with_tables(module));
        }
        Self { modules, unwinder }
    }

    pub(super) fn unwinder(&self) -> &TableUnwinder<'held> {
        &self.unwinder
    }

    /// The code from `address` to the end of its segment.
    pub(super) fn text(&self, address: usize) -> Option<&'held [u8]> {
        let (before, bytes) = self.segment(address)?;
        Some(&bytes[before..])
    }

    /// The code up to `address`, from the start of its segment.
    pub(super) fn text_before(&self, address: usize) -> Option<&'held [u8]> {
        let (before, bytes) = self.segment(address.checked_sub(1)?)?;
        Some(&bytes[..=before])
    }

    /// The code from the start of the function that `address` lies in.
    pub(super) fn function(&self, address: usize) -> Option<&'held [u8]> {
        self.text(self.function_start(address)?)
    }

    /// Where the function that `address` lies in starts.
    pub(super) fn function_start(&self, address: usize) -> Option<usize> {
        FrameTable::of(self.module(address)?)?.function(address)
    }

    fn module(&self, address: usize) -> Option<&HeldModule<'held>> {
        self.modules
            .iter()
            .find(|module| module.range.contains(&address))
    }

    /// The executable segment of `address`, and how many of its bytes lie before.
    fn segment(&self, address: usize) -> Option<(usize, &'held [u8])> {
        let segments = self.module(address)?.segments.iter();
        segments
            .filter(|segment| segment.executable)
            .find_map(|segment| {
                let before = address.checked_sub(segment.address)?;
                (before < segment.bytes.len()).then_some((before, segment.bytes))
            })
    }
}

/// The module as the unwinder wants it; without tables if it has none that we can read.
fn with_tables<'held>(module: &HeldModule<'held>) -> Module<&'held [u8]> {
    // Addresses as the file has them.
    let stated = |address: usize| address.wrapping_sub(module.bias) as u64;
    let mut sections = ExplicitModuleSectionInfo {
        base_svma: stated(module.range.start),
        ..Default::default()
    };
    if let Some(table) = FrameTable::of(module)
        && let Some(frames) = table.frames()
        && let Some(bytes) = bytes_at(module, frames)
    {
        let range = |start, bytes: &[u8]| stated(start)..stated(start + bytes.len());
        sections.eh_frame_hdr_svma = Some(range(table.address, table.bytes));
        sections.eh_frame_hdr = Some(table.bytes);
        sections.eh_frame_svma = Some(range(frames, bytes));
        sections.eh_frame = Some(bytes);
    }
    let range = module.range.start as u64..module.range.end as u64;
    Module::new(String::new(), range.clone(), range.start, sections)
}

/// What lies at `address` and above in the same segment.
fn bytes_at<'held>(module: &HeldModule<'held>, address: usize) -> Option<&'held [u8]> {
    module.segments.iter().find_map(|segment| {
        let before = address.checked_sub(segment.address)?;
        segment
            .bytes
            .get(before..)
            .filter(|bytes| !bytes.is_empty())
    })
}

/// `.eh_frame_hdr`, in the one form that linkers make.
///
/// ```text
/// 0   1                4       8       12
/// +---+----+----+----+---------+-------+----------------+----------------+---
/// | 1 | 1b | 03 | 3b | frames  | count | first function | its description | ...
/// +---+----+----+----+---------+-------+----------------+----------------+---
/// ```
///
/// `frames` is relative to itself, all that follows the count to the start of the table.
struct FrameTable<'held> {
    address: usize,
    bytes: &'held [u8],
}

impl<'held> FrameTable<'held> {
    const ENTRIES: usize = 12;
    const ENTRY: usize = 8;

    fn of(module: &HeldModule<'held>) -> Option<Self> {
        let range = module.frame_table.clone()?;
        let bytes = bytes_at(module, range.start)?.get(..range.len())?;
        let table = Self {
            address: range.start,
            bytes,
        };
        bytes.starts_with(&[1, 0x1b, 0x03, 0x3b]).then_some(table)
    }

    /// Where `.eh_frame` starts.
    fn frames(&self) -> Option<usize> {
        let relative = i32::from_ne_bytes(self.field(4)?);
        (self.address + 4).checked_add_signed(relative as isize)
    }

    /// Where the function that `address` lies in starts.
    fn function(&self, address: usize) -> Option<usize> {
        let count = u32::from_ne_bytes(self.field(8)?) as usize;
        let entries = self.bytes.get(Self::ENTRIES..)?.chunks_exact(Self::ENTRY);
        let (mut low, mut high) = (0, count.min(entries.len()));
        while low < high {
            let middle = low.midpoint(high);
            match self.start(middle)? <= address {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        self.start(low.checked_sub(1)?)
    }

    fn start(&self, entry: usize) -> Option<usize> {
        let relative = i32::from_ne_bytes(self.field(Self::ENTRIES + Self::ENTRY * entry)?);
        self.address.checked_add_signed(relative as isize)
    }

    fn field(&self, at: usize) -> Option<[u8; 4]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }
}
