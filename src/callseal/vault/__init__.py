"""Key trees and the sealed-recording format."""
