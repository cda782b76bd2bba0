"""Jobs run by workers: the queue, renewal of links, retries, the limiter and the circuit breaker."""
