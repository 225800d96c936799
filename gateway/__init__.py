"""Gateway: REST, WebSocket fan-out and the dashboard."""
