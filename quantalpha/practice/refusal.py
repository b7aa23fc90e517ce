"""How the practice exchange says no."""


class Refusal(Exception):
    """Binance's `{"code": ..., "msg": ...}` with an HTTP status (source: USD-M futures error codes); retry_after: seconds, as a header."""

    def __init__(self, code: int, message: str, status: int = 400, retry_after: int | None = None):
        super().__init__(message)
        self.code, self.message, self.status, self.retry_after = code, message, status, retry_after
