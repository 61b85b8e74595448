//! A dump as a text for people.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::{Dump, GreenletDump, GreenletState, HubDump, HubState, RuntimeDump};
use crate::sched::cell::Id;
use crate::sched::circles::Circle;
use crate::sched::lock_owner::LockOwner;

/// So many groups of greenlets are shown, so many lines of the tree, and so many circles.
const GROUPS: usize = 200;
const TREE_LINES: usize = 200;
const CIRCLES: usize = 20;

/// So many numbers and names are listed in a row.
const LISTED: usize = 12;

/// So many greenlets of one parent and place are one line of the tree.
const FOLDED: usize = 4;

/// How deep the tree is shown.
const DEPTH: usize = 32;

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let greenlets = self.greenlets().count();
        let left_out: usize = self.runtimes.iter().map(|runtime| runtime.left_out).sum();
        write!(f, "dump of {}", Count(greenlets + left_out, "greenlet"))?;
        if left_out > 0 {
            write!(f, ", {left_out} of them left out")?;
        }
        write!(f, ", taken in {} us", self.took.as_micros())?;
        let Self {
            blocking_threads,
            blocking_idle,
            blocking_queued,
            ..
        } = self;
        write!(
            f,
            "\nblocking pool: {}, {blocking_idle} idle, {} queued; {} in this crate",
            Count(*blocking_threads, "thread"),
            Count(*blocking_queued, "job"),
            match self.waiting_threads {
                1 => "1 plain thread waits".to_owned(),
                count => format!("{count} plain threads wait"),
            }
        )?;
        for cycle in self.cycles.iter().take(CIRCLES) {
            write!(f, "\nin a circle: {}", Circle(cycle))?;
        }
        if self.cycles.len() > CIRCLES {
            write!(f, "\nand {} more circles", self.cycles.len() - CIRCLES)?;
        }
        for (number, runtime) in self.runtimes.iter().enumerate() {
            if self.runtimes.len() > 1 {
                write!(f, "\n\nruntime {} of {}", number + 1, self.runtimes.len())?;
            }
            write!(f, "\n{runtime}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RuntimeDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\n{}, {} started, {} not started, {} queued for any hub, {}",
            Count(self.hubs.len(), "hub"),
            Count(self.greenlets.len() + self.left_out, "greenlet"),
            self.not_started,
            self.queued,
            Count(self.descriptors, "descriptor"),
        )?;
        if self.is_ending {
            f.write_str("; it is being dropped")?;
        }
        for hub in &self.hubs {
            write!(f, "\n  {hub}")?;
        }
        let groups = groups(&self.greenlets);
        for group in groups.iter().take(GROUPS) {
            write!(f, "\n\n{group}")?;
        }
        if let Some(rest) = groups.get(GROUPS..).filter(|rest| !rest.is_empty()) {
            let count = rest.iter().map(|group| group.members.len()).sum();
            write!(
                f,
                "\n\nand {} more in {} places",
                Count(count, "greenlet"),
                rest.len()
            )?;
        }
        if self
            .greenlets
            .iter()
            .any(|greenlet| greenlet.parent.is_some())
        {
            f.write_str("\n\nwho has spawned whom:")?;
            Tree::of(&self.greenlets).show(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for HubDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hub {}", self.number)?;
        if let Some(thread) = self.thread {
            write!(f, " (thread {thread})")?;
        }
        write!(
            f,
            ": {}; {} queued, {}, {}",
            self.state,
            self.queued,
            Count(self.timers, "timer"),
            Count(self.switches as usize, "switch"),
        )?;
        if !self.is_listed {
            f.write_str("; its greenlets could not be listed")?;
        }
        Ok(())
    }
}

impl fmt::Display for HubState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("is not there"),
            Self::Asleep => f.write_str("sleeps"),
            Self::Busy => f.write_str("is between greenlets"),
            Self::Running {
                greenlet,
                since,
                activity,
            } => {
                match greenlet {
                    Some(id) => write!(f, "runs greenlet {id}")?,
                    None => f.write_str("runs a greenlet")?,
                }
                if let Some(since) = since {
                    write!(f, ", for {} ms or longer", since.as_millis())?;
                }
                match activity {
                    Some(activity) => write!(f, ": {activity}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A number of things.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        let plural = match (count, noun.ends_with("ch")) {
            (1, _) => "",
            (_, true) => "es",
            (_, false) => "s",
        };
        write!(f, "{count} {noun}{plural}")
    }
}

/// Greenlets that do the same at the same place.
struct Group<'a> {
    /// At least one.
    members: Vec<&'a GreenletDump>,
}

/// What is the same for all of a group.
type Key<'a> = (
    Option<Id>,
    &'a Location<'a>,
    &'static str,
    Option<usize>,
    &'a [String],
);

/// The groups, the largest first.
fn groups(greenlets: &[GreenletDump]) -> Vec<Group<'_>> {
    let mut places: HashMap<Key<'_>, usize> = HashMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for greenlet in greenlets {
        let (kind, hub) = match &greenlet.state {
            GreenletState::Running { hub } => ("running", Some(*hub)),
            GreenletState::Ready => ("ready", None),
            GreenletState::Dumping => ("dumping", None),
            GreenletState::Waiting { reason, .. } => (*reason, None),
        };
        let key = (
            greenlet.parent,
            greenlet.spawned_at,
            kind,
            hub,
            &*greenlet.stack,
        );
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.members.push(greenlet),
            None => groups.push(Group {
                members: vec![greenlet],
            }),
        }
    }
    // Stable: otherwise by the first number.
    groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
    groups
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.members[0];
        let is_one = self.members.len() == 1;
        match is_one {
            true => write!(f, "{}: ", Named(first))?,
            false => write!(f, "{} greenlets: ", self.members.len())?,
        }
        self.show_state(f, is_one)?;
        if !is_one {
            f.write_str("\n    greenlets ")?;
            list(f, &self.members)?;
        }
        write!(f, "\n    spawned at {}", first.spawned_at)?;
        match first.parent {
            Some(parent) => write!(f, " by greenlet {parent}")?,
            None => f.write_str(" by a plain thread")?,
        }
        if let Some(hub) = first.pinned {
            write!(f, ", pinned to hub {hub}")?;
        }
        let used = self
            .members
            .iter()
            .filter_map(|greenlet| greenlet.stack_used);
        if let Some(used) = used.max() {
            let up_to = if is_one { "" } else { "up to " };
            write!(
                f,
                "; {up_to}{used} bytes of stack in use, of {}",
                first.stack_size
            )?;
        }
        for frame in &first.stack {
            write!(f, "\n    in {frame}")?;
        }
        Ok(())
    }
}

impl Group<'_> {
    fn show_state(&self, f: &mut fmt::Formatter<'_>, is_one: bool) -> fmt::Result {
        match &self.members[0].state {
            GreenletState::Running { hub } => write!(f, "runs on hub {hub}"),
            GreenletState::Ready if is_one => f.write_str("waits for its turn"),
            GreenletState::Ready => f.write_str("wait for their turn"),
            GreenletState::Dumping => f.write_str("takes this dump"),
            GreenletState::Waiting { .. } => self.show_wait(f, is_one),
        }
    }

    fn show_wait(&self, f: &mut fmt::Formatter<'_>, is_one: bool) -> fmt::Result {
        /// What a wait is for, without its number, and how many wait for each.
        type Objects<'a> = BTreeMap<(&'a str, Option<LockOwner>), usize>;
        let mut objects = Objects::new();
        let mut least = Duration::MAX;
        let mut most = Duration::ZERO;
        for greenlet in &self.members {
            if let GreenletState::Waiting {
                what, owner, since, ..
            } = &greenlet.state
            {
                *objects.entry((what, *owner)).or_default() += 1;
                least = least.min(*since);
                most = most.max(*since);
            }
        }
        f.write_str(if is_one { "waits " } else { "wait " })?;
        for (place, ((what, owner), count)) in objects.iter().take(LISTED).enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            f.write_str(what)?;
            match owner {
                // It says so itself.
                Some(owner) if !what.starts_with("for the end of") => {
                    let verb = match owner {
                        LockOwner::Readers(2..) => "have",
                        _ => "has",
                    };
                    write!(f, ", which {owner} {verb}")?;
                }
                _ => {}
            }
            if objects.len() > 1 && *count > 1 {
                write!(f, " ({count})")?;
            }
        }
        if objects.len() > LISTED {
            write!(f, " and {} others", objects.len() - LISTED)?;
        }
        match (least.as_millis(), most.as_millis()) {
            (least, most) if least == most => write!(f, ", for {most} ms"),
            (least, most) => write!(f, ", for {least} to {most} ms"),
        }
    }
}

/// A greenlet as the first word of a sentence.
struct Named<'a>(&'a GreenletDump);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "greenlet {}", Label(self.0))
    }
}

/// A greenlet's number, and its name if it has one.
struct Label<'a>(&'a GreenletDump);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.id)?;
        match &self.0.name {
            Some(name) => write!(f, " '{}'", name.escape_debug()),
            None => Ok(()),
        }
    }
}

/// Greenlets in a row; those with consecutive numbers and no names as a range.
fn list(f: &mut fmt::Formatter<'_>, greenlets: &[&GreenletDump]) -> fmt::Result {
    let follows = |before: &&GreenletDump, after: &&GreenletDump| {
        let unnamed = before.name.is_none() && after.name.is_none();
        unnamed && after.id.number() == before.id.number() + 1
    };
    let mut shown = 0;
    for (place, range) in greenlets.chunk_by(follows).enumerate() {
        if place == LISTED {
            return write!(f, " and {} more", greenlets.len() - shown);
        }
        shown += range.len();
        let comma = if place > 0 { ", " } else { "" };
        match range {
            [one] => write!(f, "{comma}{}", Label(one))?,
            [first, .., last] => write!(f, "{comma}{} to {}", Label(first), Label(last))?,
            [] => {}
        }
    }
    Ok(())
}

/// Who has spawned whom.
struct Tree<'a> {
    /// By number of the parent; those whose parent is not there are under `None`.
    children: HashMap<Option<Id>, Vec<&'a GreenletDump>>,
}

impl<'a> Tree<'a> {
    fn of(greenlets: &'a [GreenletDump]) -> Self {
        let known: std::collections::HashSet<Id> =
            greenlets.iter().map(|greenlet| greenlet.id).collect();
        let mut children: HashMap<_, Vec<_>> = HashMap::new();
        for greenlet in greenlets {
            let parent = greenlet.parent.filter(|parent| known.contains(parent));
            children.entry(parent).or_default().push(greenlet);
        }
        Self { children }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = TREE_LINES;
        self.show_below(f, None, 1, &mut lines)?;
        if lines == 0 {
            f.write_str("\n  and so on")?;
        }
        Ok(())
    }

    fn show_below(
        &self,
        f: &mut fmt::Formatter<'_>,
        parent: Option<Id>,
        depth: usize,
        lines: &mut usize,
    ) -> fmt::Result {
        let children = self.children.get(&parent).map_or(&[][..], Vec::as_slice);
        // Those without children that were spawned at the same place are one line.
        let mut leaves: HashMap<&Location<'_>, Vec<&GreenletDump>> = HashMap::new();
        for child in children {
            if !self.children.contains_key(&Some(child.id)) {
                leaves.entry(child.spawned_at).or_default().push(child);
            }
        }
        let mut folded = std::collections::HashSet::new();
        for child in children {
            let place = leaves.get(child.spawned_at);
            let is_leaf = !self.children.contains_key(&Some(child.id));
            let fold = place.filter(|leaves| is_leaf && leaves.len() >= FOLDED);
            if fold.is_some() && !folded.insert(child.spawned_at) {
                continue;
            }
            if *lines == 0 {
                return Ok(());
            }
            *lines -= 1;
            write!(f, "\n{:width$}", "", width = 2 * depth)?;
            match fold {
                Some(leaves) => {
                    list(f, leaves)?;
                    write!(f, ", {} spawned at {}", leaves.len(), child.spawned_at)?;
                }
                None => {
                    write!(f, "{}, spawned at {}", Label(child), child.spawned_at)?;
                    // A parent has a lower number, so this ends; but not always soon.
                    if depth < DEPTH {
                        self.show_below(f, Some(child.id), depth + 1, lines)?;
                    }
                }
            }
        }
        Ok(())
    }
}
