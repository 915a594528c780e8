//! User input: converts navigation events and action signals to commands and queues them for the
//! streaming thread.

use std::collections::VecDeque;

use gst_video::{NavigationEvent, NavigationModifierType};

use cnnvideo::segment::{MAX_LABEL, Seed, Shape, seeds::WrittenSeeds};

/// Largest number of queued commands; queuing one more drops the oldest.
const MOST: usize = 256;
/// Largest motion of the pointer between press and release, in pixels of the frame, that counts as
/// a click instead of a drag.
const STILL: f64 = 4.0;
/// Largest number of pointer positions of a drag; later ones are dropped, except for the last.
const MOST_POINTS: usize = 256;

/// Change of the seeds that is applied at the next frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// Adds a seed.
    Add(Seed),
    /// Replaces all seeds.
    Replace(WrittenSeeds),
    /// Removes the newest seed.
    Undo,
    /// Removes all seeds.
    Clear,
}

/// Mouse gesture between press and release of a button.
#[derive(Debug, Clone)]
struct Gesture {
    label: u8,
    /// Whether a drag draws a box instead of a stroke.
    is_box: bool,
    /// Positions `[x, y]` of the pointer, in pixels of the frame.
    points: Vec<[f64; 2]>,
}

/// Queue of commands, and the state of the gesture in progress. No method blocks.
#[derive(Debug)]
pub(super) struct Input {
    commands: VecDeque<Command>,
    gesture: Option<Gesture>,
    /// Region that clicks and keys apply to, from 1 on.
    label: u8,
    /// Width and height of the frames; `None` while there are no caps.
    size: Option<[f64; 2]>,
}

impl Default for Input {
    fn default() -> Self {
        Self { commands: VecDeque::new(), gesture: None, label: 1, size: None }
    }
}

impl Input {
    /// Sets the size of the frames. A change of size cancels the gesture in progress.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = Some([f64::from(width), f64::from(height)]);
        if self.size != size {
            self.gesture = None;
        }
        self.size = size;
    }

    /// Resets the size and the gesture in progress when the element stops.
    pub fn stop(&mut self) {
        (self.size, self.gesture) = (None, None);
    }

    /// Queues a command; drops the oldest if the queue is full.
    pub fn push(&mut self, command: Command) {
        if self.commands.len() == MOST {
            self.commands.pop_front();
        }
        self.commands.push_back(command);
    }

    /// Removes and returns all queued commands, oldest first.
    pub fn take(&mut self) -> VecDeque<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Returns whether no commands are queued.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Queues a seed and returns whether it was accepted: the size of the frames must be known, the
    /// label must be at most [`MAX_LABEL`] and `shape` must return a shape.
    ///
    /// `shape` receives a function that converts pixels of the frame to shares of its size.
    pub fn add(
        &mut self,
        label: u32,
        shape: impl FnOnce(&dyn Fn([f64; 2]) -> [f32; 2]) -> Option<Shape>,
    ) -> bool {
        let (Some(size), Ok(label)) = (self.size, u8::try_from(label)) else { return false };
        let share = move |at: [f64; 2]| [0, 1].map(|i| ((at[i] + 0.5) / size[i]) as f32);
        let shape = shape(&share).filter(|_| label <= MAX_LABEL);
        shape.map(|shape| self.push(Command::Add(Seed { label, shape }))).is_some()
    }

    /// Handles a navigation event and returns whether it is one that the element uses.
    pub fn navigate(&mut self, event: &NavigationEvent) -> bool {
        match event {
            NavigationEvent::MouseButtonPress { button, x, y, modifier_state } => {
                if self.size.is_none() {
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
                if gesture.points.len() < MOST_POINTS {
                    gesture.points.push([*x, *y]);
                }
                true
            }
            NavigationEvent::MouseButtonRelease { x, y, .. } => {
                let Some(mut gesture) = self.gesture.take() else { return false };
                gesture.points.push([*x, *y]);
                self.finish(gesture);
                true
            }
            NavigationEvent::MouseScroll { delta_y, .. } if *delta_y != 0.0 => {
                self.grow(delta_y.signum() as i32)
            }
            NavigationEvent::KeyPress { key, .. } => self.press(key),
            _ => false,
        }
    }

    /// Grows (`steps` above 0) or shrinks (below 0) the current region.
    fn grow(&mut self, steps: i32) -> bool {
        let label = u32::from(self.label);
        self.add(label, |_| Some(Shape::Steps(steps)))
    }

    /// Handles a key press and returns whether it is one that the element uses.
    fn press(&mut self, key: &str) -> bool {
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
    fn finish(&mut self, gesture: Gesture) {
        let Some(size) = self.size else { return };
        let Gesture { label, is_box, points } = gesture;
        let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
            return;
        };
        // Gestures that begin outside of the frame, as on the bars of a letterboxed sink, have no
        // effect.
        let inside = |p: [f64; 2]| (0..2).all(|i| (0.0..size[i]).contains(&p[i]));
        let moved = points.iter().any(|p| (p[0] - first[0]).hypot(p[1] - first[1]) > STILL);
        if !inside(first) {
            return;
        }
        self.add(u32::from(label), |share| {
            Some(match (moved, is_box) {
                (false, _) => Shape::Point(share(first)),
                (true, true) => Shape::Box(share(first), share(last)),
                (true, false) => {
                    let points = points.iter().filter(|p| inside(**p)).map(|p| share(*p)).collect();
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
        let mut input = Input::default();
        // Events are ignored until the size of the frames is known.
        assert!(
            !input.navigate(&press(1, 5.0, 5.0, none)) && !input.navigate(&release(1, 5.0, 5.0))
        );
        input.resize(100, 50);
        input.navigate(&press(1, 49.5, 24.5, none));
        input.navigate(&release(1, 50.0, 25.0));
        input.navigate(&press(1, 10.0, 10.0, NavigationModifierType::CONTROL_MASK));
        input.navigate(&release(1, 10.0, 10.0));
        input.navigate(&press(3, 10.0, 10.0, none));
        input.navigate(&NavigationEvent::new_mouse_move(20.0, 10.0));
        input.navigate(&release(3, 30.0, 10.0));
        input.navigate(&key("4"));
        input.navigate(&press(1, 10.0, 10.0, NavigationModifierType::SHIFT_MASK));
        input.navigate(&release(1, 60.0, 40.0));
        input.navigate(&key("g"));
        input.navigate(&NavigationEvent::new_mouse_scroll(5.0, 5.0, 0.0, -3.0));
        assert!(!input.navigate(&NavigationEvent::new_mouse_scroll(5.0, 5.0, 1.0, 0.0)));
        input.navigate(&key("u"));
        input.navigate(&key("c"));
        assert!(!input.navigate(&key("9")) && !input.navigate(&key("F11")));
        // On the black bar of a letterboxed sink.
        input.navigate(&press(1, -3.0, 10.0, none));
        input.navigate(&release(1, -3.0, 10.0));
        let commands: Vec<_> = input.take().into();
        let [a, b, c, d, larger, smaller, e, f] = &commands[..] else { panic!("{commands:?}") };
        assert_eq!(*a, Command::Add(Seed { label: 1, shape: Shape::Point([0.5, 0.5]) }));
        assert!(matches!(b, Command::Add(Seed { label: 0, shape: Shape::Point(_) })));
        assert!(
            matches!(c, Command::Add(Seed { label: 0, shape: Shape::Stroke { points, .. } }) if points.len() == 3)
        );
        assert!(matches!(d, Command::Add(Seed { label: 4, shape: Shape::Box(..) })));
        for (command, steps) in [(larger, 1), (smaller, -1)] {
            assert_eq!(*command, Command::Add(Seed { label: 4, shape: Shape::Steps(steps) }));
        }
        assert_eq!((e, f), (&Command::Undo, &Command::Clear));
    }

    #[test]
    fn a_flood_of_clicks_is_harmless() {
        gst::init().unwrap();
        let mut input = Input::default();
        input.resize(100, 50);
        for i in 0..100_000 {
            input.navigate(&press(
                1,
                f64::from(i % 120),
                f64::NAN,
                NavigationModifierType::empty(),
            ));
            input.navigate(&NavigationEvent::new_mouse_move(1e300, -1e300));
            input.navigate(&press(1, f64::from(i % 120), 7.0, NavigationModifierType::empty()));
            input.navigate(&release(1, f64::from(i % 120), 7.0));
        }
        assert_eq!(input.take().len(), MOST);
        assert!(input.is_empty());
    }
}
