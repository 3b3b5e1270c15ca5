"""What several tests share, and no package needs: small projects of real notebooks."""
