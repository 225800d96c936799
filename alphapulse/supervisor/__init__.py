"""Services as child processes: started, watched, started again."""
