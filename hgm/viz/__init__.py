"""Pictures of trees and networks. Nothing here touches matplotlib's global state."""
