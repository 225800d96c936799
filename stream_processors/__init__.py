"""The Faust app: books, depth, statistics, candles and arbitrage."""
