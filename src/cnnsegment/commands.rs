// SPDX-License-Identifier: MIT OR Apache-2.0

//! User input: converts navigation events and action signals to commands and queues them for the
//! streaming thread.

use std::collections::VecDeque;

use gst_video::{NavigationEvent, NavigationModifierType};

use cnnvideo::segment::{
    MAX_LABEL, Seed, Shape,
    seeds::{MAX_STROKE_POINTS, ParsedSeeds},
};

/// Function that converts pixels `[x, y]` of the frame to shares of its width and height.
pub(super) type ToShare<'a> = dyn Fn([f64; 2]) -> [f32; 2] + 'a;

/// Largest number of queued commands; queuing one more drops the oldest.
const MAX_COMMANDS: usize = 256;
/// Largest motion of the pointer between press and release, in pixels of the frame, that counts as
/// a click instead of a drag.
const MAX_CLICK_MOTION: f64 = 4.0;

/// Change of the seeds that is applied at the next frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// Adds a seed.
    Add(Seed),
    /// Replaces all seeds.
    Replace(ParsedSeeds),
    /// Removes the newest seed.
    Undo,
    /// Removes all seeds.
    Clear,
}

impl Command {
    /// Returns whether the seeds before the command do not matter any more.
    fn replaces_all(&self) -> bool {
        matches!(self, Self::Replace(_) | Self::Clear)
    }
}

/// Mouse gesture between press and release of a button.
#[derive(Debug, Clone)]
struct Gesture {
    label: u8,
    /// Whether a drag draws a box instead of a stroke.
    is_box: bool,
    /// Positions `[x, y]` of the pointer, in pixels of the frame; the first is that of the press.
    points: Vec<[f64; 2]>,
}

/// Queue of commands, and the state of the gesture in progress. No method blocks.
#[derive(Debug)]
pub(super) struct CommandQueue {
    commands: VecDeque<Command>,
    gesture: Option<Gesture>,
    /// Region that clicks and keys apply to, from 1 on.
    label: u8,
    /// Width and height of the frames; `None` while there are no caps.
    frame_size: Option<[f64; 2]>,
}

impl Default for CommandQueue {
    fn default() -> Self {
        Self { commands: VecDeque::new(), gesture: None, label: 1, frame_size: None }
    }
}

impl CommandQueue {
    /// Sets the size of the frames. A change of size cancels the gesture in progress.
    pub(super) fn set_frame_size(&mut self, width: u32, height: u32) {
        let size = Some([f64::from(width), f64::from(height)]);
        if self.frame_size != size {
            self.gesture = None;
        }
        self.frame_size = size;
    }

    /// Drops the frame size, the gesture in progress and all queued commands.
    pub(super) fn reset(&mut self) {
        (self.frame_size, self.gesture) = (None, None);
        self.commands.clear();
    }

    /// Queues a command. Drops those that it makes obsolete, and the oldest seed or undo if the
    /// queue is full.
    pub(super) fn push(&mut self, command: Command) {
        if command.replaces_all() {
            self.commands.clear();
        }
        if self.commands.len() == MAX_COMMANDS {
            let oldest = usize::from(self.commands[0].replaces_all());
            self.commands.remove(oldest);
        }
        self.commands.push_back(command);
    }

    /// Removes and returns all queued commands, oldest first.
    pub(super) fn take(&mut self) -> VecDeque<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Queues a seed and returns whether it was accepted: the size of the frames must be known, the
    /// label must be at most [`MAX_LABEL`] and `shape` must return a shape of finite numbers.
    ///
    /// `shape` receives a function that converts pixels of the frame to shares of its size.
    pub(super) fn add_seed(
        &mut self,
        label: u32,
        shape: impl FnOnce(&ToShare<'_>) -> Option<Shape>,
    ) -> bool {
        let (Some(size), Ok(label)) = (self.frame_size, u8::try_from(label)) else { return false };
        let to_share = move |at: [f64; 2]| [0, 1].map(|i| ((at[i] + 0.5) / size[i]) as f32);
        let shape = shape(&to_share).filter(|shape| label <= MAX_LABEL && shape.is_finite());
        shape.map(|shape| self.push(Command::Add(Seed { label, shape }))).is_some()
    }

    /// Handles a navigation event and returns whether it is one that the element uses.
    pub(super) fn navigate(&mut self, event: &NavigationEvent) -> bool {
        match event {
            NavigationEvent::MouseButtonPress { button, x, y, modifier_state } => {
                if self.frame_size.is_none() {
                    return false;
                }
                let held = |modifier| modifier_state.contains(modifier);
                let label = match button {
                    1 if held(NavigationModifierType::CONTROL_MASK) => 0,
                    1 => self.label,
                    3 => 0,
                    _ => return false,
                };
                let is_box = held(NavigationModifierType::SHIFT_MASK) && label > 0;
                self.gesture = Some(Gesture { label, is_box, points: vec![[*x, *y]] });
                true
            }
            NavigationEvent::MouseMove { x, y, .. } => {
                let Some(gesture) = &mut self.gesture else { return false };
                // Later positions are dropped, except for that of the release.
                if gesture.points.len() < MAX_STROKE_POINTS {
                    gesture.points.push([*x, *y]);
                }
                true
            }
            NavigationEvent::MouseButtonRelease { x, y, .. } => {
                let Some(mut gesture) = self.gesture.take() else { return false };
                gesture.points.push([*x, *y]);
                self.finish_gesture(gesture);
                true
            }
            NavigationEvent::MouseScroll { delta_y, .. } if delta_y.abs() > 0.0 => {
                self.grow(delta_y.signum() as i32)
            }
            NavigationEvent::KeyPress { key, .. } => self.key_press(key),
            _ => false,
        }
    }

    /// Grows (`steps` above 0) or shrinks (below 0) the current region.
    fn grow(&mut self, steps: i32) -> bool {
        let label = u32::from(self.label);
        self.add_seed(label, |_| Some(Shape::Grow(steps)))
    }

    /// Handles a key press and returns whether it is one that the element uses.
    fn key_press(&mut self, key: &str) -> bool {
        match key {
            "g" => return self.grow(1),
            "s" => return self.grow(-1),
            "u" => self.push(Command::Undo),
            "c" => self.push(Command::Clear),
            digit => match digit.parse() {
                Ok(label @ 1..=MAX_LABEL) if digit.len() == 1 => self.label = label,
                _ => return false,
            },
        }
        true
    }

    /// Queues the seed of a gesture that has ended.
    fn finish_gesture(&mut self, gesture: Gesture) {
        let size = self.frame_size.expect("a gesture begins only when the frame size is known");
        let Gesture { label, is_box, points } = gesture;
        let (first, last) = (points[0], points[points.len() - 1]);
        // Gestures that begin outside of the frame, as on the bars of a letterboxed sink, have no
        // effect.
        let inside = |p: [f64; 2]| (0..2).all(|i| (0.0..size[i]).contains(&p[i]));
        let moved =
            points.iter().any(|p| (p[0] - first[0]).hypot(p[1] - first[1]) > MAX_CLICK_MOTION);
        if !inside(first) {
            return;
        }
        self.add_seed(u32::from(label), |to_share| {
            Some(match (moved, is_box) {
                (false, _) => Shape::Point(to_share(first)),
                (true, true) => Shape::Box { corner: to_share(first), opposite: to_share(last) },
                (true, false) => {
                    let points =
                        points.iter().filter(|p| inside(**p)).map(|p| to_share(*p)).collect();
                    Shape::Stroke { points, radius: 0.0 }
                }
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(
        button: i32,
        x: f64,
        y: f64,
        modifier_state: NavigationModifierType,
    ) -> NavigationEvent {
        NavigationEvent::MouseButtonPress { button, x, y, modifier_state }
    }

    fn release(button: i32, x: f64, y: f64) -> NavigationEvent {
        NavigationEvent::new_mouse_button_release(button, x, y)
    }

    fn key(key: &str) -> NavigationEvent {
        NavigationEvent::new_key_press(key)
    }

    #[test]
    fn gestures_become_seeds() {
        gst::init().unwrap();
        let none = NavigationModifierType::empty();
        let mut queue = CommandQueue::default();
        // Events are ignored until the size of the frames is known.
        assert!(
            !queue.navigate(&press(1, 5.0, 5.0, none)) && !queue.navigate(&release(1, 5.0, 5.0))
        );
        queue.set_frame_size(100, 50);
        queue.navigate(&press(1, 49.5, 24.5, none));
        queue.navigate(&release(1, 50.0, 25.0));
        queue.navigate(&press(1, 10.0, 10.0, NavigationModifierType::CONTROL_MASK));
        queue.navigate(&release(1, 10.0, 10.0));
        queue.navigate(&press(3, 10.0, 10.0, none));
        queue.navigate(&NavigationEvent::new_mouse_move(20.0, 10.0));
        queue.navigate(&release(3, 30.0, 10.0));
        queue.navigate(&key("4"));
        queue.navigate(&press(1, 10.0, 10.0, NavigationModifierType::SHIFT_MASK));
        queue.navigate(&release(1, 60.0, 40.0));
        queue.navigate(&key("g"));
        queue.navigate(&NavigationEvent::new_mouse_scroll(5.0, 5.0, 0.0, -3.0));
        for none in [0.0, f64::NAN] {
            assert!(!queue.navigate(&NavigationEvent::new_mouse_scroll(5.0, 5.0, 1.0, none)));
        }
        queue.navigate(&key("u"));
        assert!(!queue.navigate(&key("9")) && !queue.navigate(&key("F11")));
        // On the black bar of a letterboxed sink.
        queue.navigate(&press(1, -3.0, 10.0, none));
        queue.navigate(&release(1, -3.0, 10.0));
        let commands: Vec<_> = queue.take().into();
        let [a, b, c, d, larger, smaller, undo] = &commands[..] else { panic!("{commands:?}") };
        assert_eq!(*a, Command::Add(Seed { label: 1, shape: Shape::Point([0.5, 0.5]) }));
        assert!(matches!(b, Command::Add(Seed { label: 0, shape: Shape::Point(_) })));
        let Command::Add(Seed { label: 0, shape: Shape::Stroke { points, .. } }) = c else {
            panic!("{c:?}")
        };
        assert_eq!(points.len(), 3);
        assert!(matches!(d, Command::Add(Seed { label: 4, shape: Shape::Box { .. } })));
        for (command, steps) in [(larger, 1), (smaller, -1)] {
            assert_eq!(*command, Command::Add(Seed { label: 4, shape: Shape::Grow(steps) }));
        }
        assert_eq!(*undo, Command::Undo);
        // Nothing before it matters.
        queue.navigate(&key("g"));
        queue.navigate(&key("c"));
        assert_eq!(queue.take(), [Command::Clear]);
    }

    #[test]
    fn queue_is_bounded() {
        gst::init().unwrap();
        let mut queue = CommandQueue::default();
        queue.set_frame_size(100, 50);
        queue.push(Command::Replace(ParsedSeeds::default()));
        for i in 0..100_000 {
            queue.navigate(&press(
                1,
                f64::from(i % 120),
                f64::NAN,
                NavigationModifierType::empty(),
            ));
            queue.navigate(&NavigationEvent::new_mouse_move(1e300, -1e300));
            queue.navigate(&press(1, f64::from(i % 120), 7.0, NavigationModifierType::empty()));
            queue.navigate(&release(1, f64::from(i % 120), 7.0));
        }
        let commands = queue.take();
        assert_eq!(commands.len(), MAX_COMMANDS);
        assert_eq!(commands[0], Command::Replace(ParsedSeeds::default()));
        assert!(queue.take().is_empty());
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        gst::init().unwrap();
        let none = NavigationModifierType::empty();
        let mut queue = CommandQueue::default();
        queue.set_frame_size(100, 50);
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            for points in [vec![[wrong, 5.0]], vec![[5.0, 5.0], [5.0, wrong]]] {
                let shape = |to_share: &ToShare<'_>| {
                    let points = points.iter().map(|point| to_share(*point)).collect();
                    Some(Shape::Stroke { points, radius: 0.0 })
                };
                assert!(!queue.add_seed(1, shape), "{points:?}");
            }
            queue.navigate(&press(1, wrong, 5.0, none));
            queue.navigate(&release(1, wrong, 5.0));
            queue.navigate(&press(1, 5.0, 5.0, NavigationModifierType::SHIFT_MASK));
            queue.navigate(&NavigationEvent::new_mouse_move(20.0, 10.0));
            queue.navigate(&release(1, 40.0, wrong));
        }
        assert!(queue.take().is_empty());
        // A stroke keeps its other points.
        queue.navigate(&press(1, 5.0, 5.0, none));
        queue.navigate(&NavigationEvent::new_mouse_move(f64::NAN, 10.0));
        queue.navigate(&NavigationEvent::new_mouse_move(20.0, 10.0));
        queue.navigate(&release(1, f64::INFINITY, 10.0));
        let commands = queue.take();
        let Some(Command::Add(Seed { shape: Shape::Stroke { points, .. }, .. })) = commands.front()
        else {
            panic!("{commands:?}")
        };
        assert_eq!((commands.len(), points.len()), (1, 2));
    }
}
